"""requests or aiohttp; says what it did (see ../go/client/main.go). clients.py requests|aiohttp PORT PREFIX COUNT"""

import asyncio
import sys

import aiohttp
import requests

KINDS = [("GET", "r", 0), ("POST", "r", 3000), ("PUT", "put", 40000), ("GET", "gone", 0), ("HEAD", "r", 0)]
LIBRARY, PORT, PREFIX, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def wanted():
    for number in range(COUNT):
        method, folder, size = KINDS[number % len(KINDS)]
        path = f"/{folder}/{PREFIX}-{number}"
        yield method, path, f"http://127.0.0.1:{PORT}{path}", b"b" * size or None, size


def with_requests():
    with requests.Session() as session:
        for method, path, url, body, size in wanted():
            response = session.request(method, url, data=body)
            print(path, method, response.status_code, size, len(response.content))


async def with_aiohttp():
    async with aiohttp.ClientSession() as session:
        for method, path, url, body, size in wanted():
            async with session.request(method, url, data=body) as response:
                print(path, method, response.status, size, len(await response.read()))


if LIBRARY == "requests":
    with_requests()
else:
    asyncio.run(with_aiohttp())
