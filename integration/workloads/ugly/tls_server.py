"""HTTP/1.1 inside TLS, on a port that is taken for a plain one: PORT LOG CERTIFICATE KEY. Logs like http_server.py."""

import socket
import ssl
import sys
import threading

PORT, LOG = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])


def serve(plain):
    try:
        with context.wrap_socket(plain, server_side=True) as connection:
            while got := connection.recv(65536):
                method, path = got.decode().split(" ")[:2]
                LOG.write(f"{path} {method} 200 0 6\n")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
    except (OSError, ValueError):
        plain.close()


listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
