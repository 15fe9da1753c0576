// Node's own HTTP server: 64 bytes to every request. server.js PORT
const body = Buffer.alloc(64, "x");
const head = { "Content-Type": "text/plain", "Content-Length": body.length };

const server = require("http").createServer((request, response) => {
  response.writeHead(200, head);
  response.end(body);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "127.0.0.1");
