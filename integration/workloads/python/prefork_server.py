"""Listens, then forks workers that accept, as gunicorn does. Logs like http_server.py."""

import os
import signal
import socket
import sys

PORT, LOG, WORKERS = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1), 3


def serve(listener):
    while True:
        connection, _ = listener.accept()
        request = connection.recv(65536).decode()
        method, path = request.split(" ")[:2]
        body = str(os.getpid()).encode()
        LOG.write(f"{path} {method} 200 0 {len(body)}\n")
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        connection.close()


listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
workers = []
for _ in range(WORKERS):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        serve(listener)
    workers.append(pid)


def end(*_):
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    signal.pause()
