import { createServer } from "node:http";
import { answer } from "./truth.mjs";

createServer((request, response) => {
  let bytes = 0;
  request.on("data", (part) => (bytes += part.length));
  request.on("end", () => {
    const { status, isStreamed, parts, body } = answer(request.method, request.url, bytes);
    if (isStreamed) {
      response.writeHead(status);
      parts.forEach((part) => response.write(part));
      response.end();
    } else {
      response.writeHead(status, { "Content-Length": body.length });
      response.end(body);
    }
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
