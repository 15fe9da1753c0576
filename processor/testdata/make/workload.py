"""The two ends of the recorded exchanges: `workload.py serve-python|serve-pair|ask-nginx|ask-python|ask-pair`."""

import http.client
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TRACE = "00-0af7651916cd43dd8448eb211c80319c-%016x-01"


class Handler(BaseHTTPRequestHandler):
    """Chunked below /chunked/, a length elsewhere; reads bodies of both kinds."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, status, body):
        self.send_response(status)
        if self.path.startswith("/chunked/"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:10], body[10:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)
        self.wfile.flush()

    def answer(self):
        body = self.read_body()
        self.reply(404 if self.path.startswith("/gone/") else 200, b"%d bytes for %s" % (len(body), self.path.encode()))

    do_GET = do_HEAD = do_POST = do_PUT = do_BREW = answer

    def log_message(self, *_):
        pass


class Front(Handler):
    """Asks the back end, in the name of the trace that it was asked in."""

    def answer(self):
        trace = self.headers.get("traceparent")
        headers = {"traceparent": trace[:36] + "00000000000000ff" + trace[52:]} if trace else {}
        back = http.client.HTTPConnection("127.0.0.1", 21952)
        back.request("GET", "/stock" + self.path, headers=headers)
        found = back.getresponse()
        self.reply(found.status, found.read())
        back.close()

    do_GET = answer


def serve(port, handler):
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


def ask(connection, method, path, body=None, **options):
    connection.request(method, path, body, **options)
    return connection.getresponse().read()


def raw(port, requests, answers):
    """Sends all at once and reads until so many answers came."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(requests)
        seen = b""
        while seen.count(b"HTTP/1.1 ") < answers:
            seen += connection.recv(65536)


def ask_nginx():
    one = http.client.HTTPConnection("127.0.0.1", 21950)
    for number in range(20):
        ask(one, "GET", f"/r/{number}?secret={number}")
    one.request("GET", "/blob")
    response = one.getresponse()
    response.read()
    ask(one, "GET", "/blob", headers={"If-Modified-Since": response.getheader("Last-Modified")})
    ask(one, "HEAD", "/blob")
    ask(one, "GET", "/gone/1")
    ask(one, "GET", "/empty/1")
    ask(one, "PUT", "/put/one", b"p" * 2500)
    ask(one, "PUT", "/put/two", iter([b"chunk"] * 4), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    gets = [b"GET /r/pipelined/%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number for number in range(16)]
    raw(21950, b"".join(gets), 16)
    raw(21950, b"GET /r/closing HTTP/1.0\r\n\r\n", 1)
    raw(21950, b"BREW /r/pot HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n", 1)


def ask_python():
    one = http.client.HTTPConnection("127.0.0.1", 21951)
    for number in range(5):
        ask(one, "GET", f"/chunked/{number}")
        ask(one, "POST", f"/chunked/upload/{number}", iter([b"part"] * number), encode_chunked=True,
            headers={"Transfer-Encoding": "chunked"})
        ask(one, "POST", f"/plain/{number}", b"b" * number * 300)
    ask(one, "HEAD", "/plain/head")
    ask(one, "GET", "/gone/1")
    ask(one, "BREW", "/plain/pot")


def ask_pair():
    one = http.client.HTTPConnection("127.0.0.1", 21951)
    for number in range(8):
        headers = {} if number == 0 else {"traceparent": TRACE % number}
        ask(one, "GET", f"/cart/{number}", headers=headers)


match sys.argv[1]:
    case "serve-python":
        serve(21951, Handler)
    case "serve-pair":
        threading.Thread(target=serve, args=(21952, Handler), daemon=True).start()
        serve(21951, Front)
    case "ask-nginx":
        ask_nginx()
    case "ask-python":
        ask_python()
    case "ask-pair":
        ask_pair()
