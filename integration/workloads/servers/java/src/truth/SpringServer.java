package truth;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

/** Spring Boot on its embedded Tomcat. */
@SpringBootApplication
@RestController
public class SpringServer {
    public static void main(String[] args) {
        SpringApplication application = new SpringApplication(SpringServer.class);
        application.setDefaultProperties(Map.of("server.address", "127.0.0.1", "server.port", args[0], "logging.level.root", "warn"));
        application.run();
    }

    @RequestMapping("/{folder}/{name}")
    void every(@PathVariable String folder, @PathVariable String name, HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        int requestBytes = request.getInputStream().readAllBytes().length;
        Answer answer = Answer.of(request.getMethod(), "/" + folder + "/" + name, requestBytes);
        response.setStatus(answer.status());
        if (!answer.isStreamed()) {
            response.setContentLength(answer.length());
        }
        for (byte[] part : answer.parts()) {
            response.getOutputStream().write(part);
            response.flushBuffer();
        }
    }
}
