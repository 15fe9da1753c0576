"""A threading HTTP/1.1 server that logs the sizes of what it read and wrote: `path method status request response`."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, LOG = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
LOCK = threading.Lock()
CHUNK = b"c" * 65536


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write, as most servers do; flushed at the end of each request.
    wbufsize = -1

    def read_body(self):
        """Bytes on the wire after the request's head, chunk framing included."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            wire = 0
            while True:
                line = self.rfile.readline()
                wire += len(line)
                size = int(line, 16)
                wire += len(self.rfile.read(size)) + len(self.rfile.readline())
                if size == 0:
                    return wire
        left = size = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, 65536)))
        return size

    def answer(self):
        request_bytes = self.read_body()
        if self.path.startswith("/chunked/"):
            status, response_bytes = 200, self.send_chunks(int(self.path.split("/")[2]))
        else:
            status = 404 if self.path.startswith("/gone/") else 200
            response_bytes = self.send_body(status, b"x" * (len(self.path) * 7))
        self.wfile.flush()
        with LOCK:
            LOG.write(f"{self.path} {self.command} {status} {request_bytes} {response_bytes}\n")

    def send_body(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return 0
        self.wfile.write(body)
        return len(body)

    def send_chunks(self, megabytes):
        """`megabytes` MB in chunks of 64 KiB; gives the bytes on the wire."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        wire = 0
        for _ in range(megabytes * 1_000_000 // len(CHUNK)):
            wire += self.wfile.write(b"%x\r\n" % len(CHUNK)) + self.wfile.write(CHUNK) + self.wfile.write(b"\r\n")
        return wire + self.wfile.write(b"0\r\n\r\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_BREW = answer

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Handler).serve_forever()
