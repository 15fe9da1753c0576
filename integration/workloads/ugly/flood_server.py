"""Holds as many connections as there are descriptors for, in one thread. Logs like http_server.py.

Answers a whole request without a body; a line that begins with `*` as Redis would; other bytes with other bytes, as long.
Of what never becomes a request it keeps the first 64 KiB.
"""

import os
import resource
import select
import socket
import sys

PORT, LOG = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
MOST = 65536
TEXT = b"GET /flood/in-a-value HTTP/1.1\r\nHost: t\r\n\r\n"

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.create_server(("0.0.0.0", PORT), backlog=4096)
listener.setblocking(False)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
connections, kept = {}, {}


def answer(connection, head):
    method, path = head.decode().split(" ")[:2]
    body = b"held"
    LOG.write(f"{path} {method} 200 0 {len(body)}\n")
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def on_bytes(fd, connection, got):
    if got.startswith(b"*"):
        return connection.send(b"$%d\r\n%b\r\n" % (len(TEXT), TEXT) if b"GET" in got else b"+OK\r\n")
    if not kept[fd] and not got[:1].isupper():
        return connection.send(b"\0" + os.urandom(min(len(got), MOST) - 1))
    kept[fd] = (kept[fd] + got)[:MOST] if len(kept[fd]) < MOST else kept[fd]
    if kept[fd].endswith(b"\r\n\r\n"):
        answer(connection, kept[fd])
        kept[fd] = b""


def on_event(fd):
    connection = connections[fd]
    try:
        got = connection.recv(1 << 18)
        if got:
            on_bytes(fd, connection, got)
            return
    except ConnectionError:
        pass
    poll.unregister(fd)
    del connections[fd], kept[fd]
    connection.close()


while True:
    for fd, _ in poll.poll():
        if fd != listener.fileno():
            on_event(fd)
            continue
        try:
            while True:
                connection = listener.accept()[0]
                connections[connection.fileno()], kept[connection.fileno()] = connection, b""
                poll.register(connection, select.EPOLLIN)
        except BlockingIOError:
            pass
