// A service that tells its own traces over gRPC. service.mjs PORT
//
// Endpoint and delay are those of the SDK's variables. Answers every request with 200.
import { createServer } from "node:http";
import { trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { NodeSDK } from "@opentelemetry/sdk-node";

new NodeSDK({ traceExporter: new OTLPTraceExporter() }).start();
const tracer = trace.getTracer("service");

createServer((request, response) => {
  tracer.startActiveSpan("own " + request.url, (span) => {
    response.end("ok");
    span.end();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
