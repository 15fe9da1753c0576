"""Accepts connections and hands them to a process that never listened. Logs like http_server.py.

`/whole/`: the other process reads and writes. `/half/`: the first one reads the request, the other one answers it.
"""

import os
import signal
import socket
import sys

PORT, LOG = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
HALF_BYTES = 11  # "GET /half/x": enough to know which way a connection goes


def answer(connection, request):
    method, path = request.decode().split(" ")[:2]
    body = str(os.getpid()).encode()
    LOG.write(f"{path} {method} 200 0 {len(body)}\n")
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def worker(channel):
    """Serves every connection that comes through `channel` to its end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        request, fds, _, _ = socket.recv_fds(channel, 65536, 1)
        if not fds:
            return
        connection = socket.socket(fileno=fds[0])
        if request != b"-":
            answer(connection, request)
        while got := connection.recv(65536):
            answer(connection, got)
        connection.close()


here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
child = os.fork()
if child == 0:
    here.close()
    worker(there)
    os._exit(0)
there.close()
signal.signal(signal.SIGTERM, lambda *_: (os.kill(child, signal.SIGKILL), os._exit(0)))
listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
while True:
    connection, _ = listener.accept()
    seen = connection.recv(HALF_BYTES, socket.MSG_PEEK)
    request = connection.recv(65536) if b"/half" in seen else b"-"
    if seen:
        socket.send_fds(here, [request], [connection.fileno()])
    connection.close()
