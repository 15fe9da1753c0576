package truth;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;

/** What every server here answers, and its own log of it (see ../../../python/truth.py). */
public record Answer(int status, boolean isStreamed, List<byte[]> parts, int length) {
    private static final Map<String, Integer> STATUS = Map.of("gone", 404, "error", 500, "put", 201);

    /** Decides and logs. */
    public static synchronized Answer of(String method, String path, int requestBytes) throws IOException {
        String folder = path.split("/")[1];
        boolean isStreamed = folder.equals("chunked");
        List<byte[]> parts = isStreamed
            ? List.of(letters("a", 1000), letters("b", 20000), letters("c", 1))
            : List.of(letters("x", folder.equals("big") ? 300000 : 7 * path.length()));
        int length = parts.stream().mapToInt(part -> part.length).sum();
        int status = STATUS.getOrDefault(folder, 200);
        int sent = method.equals("HEAD") ? 0 : length;
        String line = "%s %s %d %d %d\n".formatted(path, method, status, requestBytes, sent);
        Files.writeString(Path.of(System.getenv("TRUTH_LOG")), line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return new Answer(status, isStreamed, parts, length);
    }

    private static byte[] letters(String letter, int count) {
        return letter.repeat(count).getBytes();
    }
}
