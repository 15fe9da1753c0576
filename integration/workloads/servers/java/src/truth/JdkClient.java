package truth;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;

/** The JDK's HttpClient, which offers h2c; says what it did (see ../../../go/client/main.go). JdkClient PORT PREFIX COUNT */
public final class JdkClient {
    private static final String[] METHODS = {"GET", "POST", "PUT", "GET", "HEAD"};
    private static final String[] FOLDERS = {"r", "r", "put", "gone", "r"};
    private static final int[] BODIES = {0, 3000, 40000, 0, 0};

    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 0; number < Integer.parseInt(args[2]); number++) {
            int kind = number % METHODS.length;
            String path = "/%s/%s-%d".formatted(FOLDERS[kind], args[1], number);
            URI uri = URI.create("http://127.0.0.1:" + args[0] + path);
            BodyPublisher body = BODIES[kind] > 0 ? BodyPublishers.ofString("b".repeat(BODIES[kind])) : BodyPublishers.noBody();
            HttpRequest request = HttpRequest.newBuilder(uri).method(METHODS[kind], body).build();
            HttpResponse<byte[]> response = client.send(request, BodyHandlers.ofByteArray());
            System.out.printf("%s %s %d %d %d%n", path, METHODS[kind], response.statusCode(), BODIES[kind], response.body().length);
        }
        System.exit(0);
    }
}
