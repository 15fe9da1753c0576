import express from "express";
import { answer } from "./truth.mjs";

const app = express();
app.use(express.raw({ type: () => true, limit: "10mb" }));
app.all("/:folder/:name", (request, response) => {
  const bytes = Buffer.isBuffer(request.body) ? request.body.length : 0;
  const { status, isStreamed, parts, body } = answer(request.method, request.path, bytes);
  response.status(status);
  if (isStreamed) {
    parts.forEach((part) => response.write(part));
    response.end();
  } else {
    response.send(body);
  }
});
app.listen(Number(process.argv[2]), "127.0.0.1");
