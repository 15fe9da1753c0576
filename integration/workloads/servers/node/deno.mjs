import process from "node:process";
import { answer, response } from "./truth.mjs";

globalThis.process = process;
Deno.serve({ hostname: "127.0.0.1", port: Number(Deno.args[0]) }, async (request) => {
  const bytes = (await request.arrayBuffer()).byteLength;
  return response(request.method, answer(request.method, new URL(request.url).pathname, bytes));
});
