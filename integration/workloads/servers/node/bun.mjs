import { answer, response } from "./truth.mjs";

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  async fetch(request) {
    const bytes = (await request.arrayBuffer()).byteLength;
    return response(request.method, answer(request.method, new URL(request.url).pathname, bytes));
  },
});
