"""Reads up to 64 KiB at once and answers every request that is whole, one write each. Logs like http_server.py."""

import socket
import sys
import threading

PORT, LOG = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)


def serve(connection):
    buffer = b""
    while True:
        got = connection.recv(65536)
        if not got:
            return connection.close()
        buffer += got
        while b"\r\n\r\n" in buffer:
            head, buffer = buffer.split(b"\r\n\r\n", 1)
            method, path = head.decode().split(" ")[:2]
            body = b"ok " + path.encode()
            LOG.write(f"{path} {method} 200 0 {len(body)}\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
