package truth;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** The JDK's own HttpServer. */
public final class JdkServer {
    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", JdkServer::every);
        server.start();
    }

    private static void every(HttpExchange exchange) throws IOException {
        String method = exchange.getRequestMethod();
        int requestBytes = exchange.getRequestBody().readAllBytes().length;
        Answer answer = Answer.of(method, exchange.getRequestURI().getPath(), requestBytes);
        if (method.equals("HEAD")) {
            exchange.sendResponseHeaders(answer.status(), -1);
        } else {
            exchange.sendResponseHeaders(answer.status(), answer.isStreamed() ? 0 : answer.length());
            for (byte[] part : answer.parts()) {
                exchange.getResponseBody().write(part);
                exchange.getResponseBody().flush();
            }
        }
        exchange.close();
    }
}
