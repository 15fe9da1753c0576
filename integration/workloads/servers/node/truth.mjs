// What every server here answers, and its own log of it (see python/truth.py).
import { appendFileSync } from "node:fs";

const STATUS = { gone: 404, error: 500, put: 201 };
const PARTS = ["a".repeat(1000), "b".repeat(20000), "c"];

export function answer(method, path, requestBytes) {
  const folder = path.split("/")[1];
  const isStreamed = folder === "chunked";
  const parts = isStreamed ? PARTS : ["x".repeat(folder === "big" ? 300000 : 7 * path.length)];
  const body = parts.join("");
  const status = STATUS[folder] ?? 200;
  const sent = method === "HEAD" ? 0 : body.length;
  appendFileSync(process.env.TRUTH_LOG, `${path} ${method} ${status} ${requestBytes} ${sent}\n`);
  return { status, isStreamed, parts, body };
}

// A web stream of the parts: what Deno and Bun answer with.
export function response(method, { status, isStreamed, parts, body }) {
  if (method === "HEAD") {
    return new Response(null, { status });
  }
  if (!isStreamed) {
    return new Response(body, { status });
  }
  const encoder = new TextEncoder();
  const stream = new ReadableStream({
    async start(controller) {
      for (const part of parts) {
        controller.enqueue(encoder.encode(part));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      controller.close();
    },
  });
  return new Response(stream, { status });
}
