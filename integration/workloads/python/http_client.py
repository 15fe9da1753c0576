"""Asks PORT for COUNT paths PREFIX0, PREFIX1, ... over keep-alive connections of the standard library."""

import http.client
import sys

port, prefix, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD"]
connection = None
for number in range(count):
    if number % 50 == 0:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    method = METHODS[number % len(METHODS)]
    body = "p" * (number % 3000) if method in ("POST", "PUT") else None
    connection.request(method, f"{prefix}{number}", body=body)
    connection.getresponse().read()
