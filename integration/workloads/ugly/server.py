"""A server that behaves as few do; the first part of the path says how. Logs what crossed the wire, as http_server.py.

`path method status request response`: bytes of the bodies that it read and that the kernel accepted.
"""

import os
import signal
import socket
import struct
import sys
import threading
import time

PORT, LOG = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
LOCK = threading.Lock()


class Conversation:
    """One connection: reads heads and bodies, and counts."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    def fill(self):
        got = self.connection.recv(65536)
        self.buffer += got
        return bool(got)

    def until(self, delimiter):
        while delimiter not in self.buffer:
            if not self.fill():
                return None
        part, self.buffer = self.buffer.split(delimiter, 1)
        return part + delimiter

    def exactly(self, count):
        while len(self.buffer) < count and self.fill():
            pass
        part, self.buffer = self.buffer[:count], self.buffer[count:]
        return part

    def head(self):
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        # a folded line is joined by a blank (RFC 9112 5.2)
        text = head.decode().replace("\r\n ", " ").replace("\r\n\t", " ")
        self.method, self.path, _ = text.split("\r\n", 1)[0].split(" ")
        lines = (line.partition(":") for line in text.split("\r\n")[1:])
        self.fields = {name.lower(): value.strip() for name, _, value in lines}
        return head

    def body(self):
        """Reads the body; gives its bytes on the wire."""
        if self.fields.get("transfer-encoding") == "chunked":
            return self.chunks()
        return len(self.exactly(int(self.fields.get("content-length", 0))))

    def chunks(self):
        wire = 0
        while True:
            line = self.until(b"\r\n")
            size = int(line, 16)
            wire += len(line)
            if size == 0:
                break
            wire += len(self.exactly(size + 2))
        while True:
            line = self.until(b"\r\n")
            wire += len(line)
            if line == b"\r\n":
                return wire

    def send(self, *parts):
        for part in parts:
            self.connection.sendall(part)
        return sum(map(len, parts))

    def log(self, status, request, response):
        with LOCK:
            LOG.write(f"{self.path} {self.method} {status} {request} {response}\n")

    def answer(self, request_bytes, body=b"fine", status=b"200 OK", fields=b""):
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields, body))
        self.log(int(status.split()[0]), request_bytes, len(body))


def plain(talk):
    talk.answer(talk.body())


def sse(talk):
    """Events of an open stream, one write each: chunked, or until the connection ends."""
    is_chunked = talk.path.startswith("/sse/chunked")
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Connection: close"
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + framing + b"\r\n\r\n")
    end, number, wire = time.monotonic() + 5, 0, 0
    while time.monotonic() < end:
        event = b"id: %d\ndata: %b\n\n" % (number, b"e" * (number * 97 % 2000))
        wire += talk.send(b"%x\r\n%b\r\n" % (len(event), event) if is_chunked else event)
        number += 1
        time.sleep(0.1 if number % 10 else 1.2)
    wire += talk.send(b"0\r\n\r\n" if is_chunked else b"data: last\n\n")
    talk.log(200, 0, wire)
    return is_chunked


def slow(talk):
    """Head and body apart, longer than a silence."""
    time.sleep(1.3)
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n")
    time.sleep(1.3)
    talk.send(b"\r\nabc")
    time.sleep(1.3)
    talk.send(b"def")
    talk.log(200, 0, 6)


def upload(talk):
    """Reads a body in pieces of 1000 bytes, and says how much came when the connection breaks."""
    left = int(talk.fields["content-length"])
    got = len(talk.buffer)
    talk.buffer = b""
    try:
        while got < left:
            piece = talk.connection.recv(1000)
            if not piece:
                break
            got += len(piece)
    except ConnectionResetError:
        pass
    if got < left:
        talk.log(0, got, 0)
        return False
    talk.answer(got)


def endless(talk):
    """A response that goes on until nobody reads it any more."""
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    wire = 0
    try:
        while True:
            wire += talk.connection.send(b"z" * 4096)
            time.sleep(0.002)
    except OSError:
        talk.log(200, 0, wire)
    return False


def die(talk):
    """The whole process dies with a third of its response written."""
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"d" * 1000)
    talk.log(200, 0, 1000)
    os.kill(os.getpid(), signal.SIGKILL)


def reset(talk):
    """Ends the connection by RST with a third of its response written."""
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"d" * 1000)
    talk.log(200, 0, 1000)
    talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def refuse(talk):
    """A final status instead of 100 Continue; the body is not read."""
    status = b"401 Unauthorized" if "401" in talk.path else b"417 Expectation Failed"
    talk.answer(0, b"no", status)


def trailers(talk):
    request_bytes = talk.body()
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    wire = talk.send(b"5\r\nhello\r\n", b"0\r\n", b"X-Sum: 1\r\nX-More: GET /r/not-a-request HTTP/1.1\r\n", b"\r\n")
    talk.log(200, request_bytes, wire)


def fold(talk):
    """A length that is folded over two lines, both ways."""
    request_bytes = talk.body()
    talk.send(b"HTTP/1.1 200 OK\r\nX-Folded: one,\r\n two\r\nContent-Length:\r\n\t7\r\n\r\nfolded!")
    talk.log(200, request_bytes, 7)


def websocket(talk):
    """Upgrades, sends a frame with the response, then echoes what comes. None of it is HTTP, whatever it looks like."""
    talk.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        b"\x81\x05hello"
    )
    talk.log(101, 0, 0)
    while got := talk.connection.recv(65536):
        talk.send(got)
    return False


def duplicate(talk):
    """Answers by a duplicate of the descriptor, then reads by another, the first one closed."""
    copy = talk.connection.dup()
    talk.connection.close()
    talk.connection = copy
    talk.answer(talk.body())


def other_thread(talk):
    """One thread accepted, one read; a third one writes."""
    request_bytes = talk.body()
    thread = threading.Thread(target=talk.answer, args=(request_bytes,))
    thread.start()
    thread.join()


HOW = {
    "sse": sse,
    "slow": slow,
    "upload": upload,
    "endless": endless,
    "die": die,
    "reset": reset,
    "refuse": refuse,
    "trailers": trailers,
    "fold": fold,
    "ws": websocket,
    "dup": duplicate,
    "thread": other_thread,
}


def serve(connection):
    talk = Conversation(connection)
    try:
        while talk.head():
            if HOW.get(talk.path.split("/")[1], plain)(talk) is False:
                break
    except ConnectionError:
        pass
    talk.connection.close()


listener = socket.create_server(("127.0.0.1", PORT), backlog=128)
while True:
    accepted = listener.accept()[0]
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
