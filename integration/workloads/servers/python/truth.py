"""What every server here answers, and its own log of it: `path method status request response`, body bytes.

`/gone/` 404, `/error/` 500, `/put/` 201, everything else 200; `/big/` is long, `/chunked/` comes in three parts of unknown
sum. HEAD has no body.
"""

import os

PARTS = (b"a" * 1000, b"b" * 20000, b"c")
STATUS = {"gone": 404, "error": 500, "put": 201}


class Answer:
    def __init__(self, method, path, body):
        folder = path.split("/")[1]
        self.status = STATUS.get(folder, 200)
        self.is_streamed = folder == "chunked"
        self.parts = PARTS if self.is_streamed else [b"x" * (300_000 if folder == "big" else 7 * len(path))]
        self.body = b"".join(self.parts)
        sent = 0 if method == "HEAD" else len(self.body)
        log(f"{path} {method} {self.status} {len(body)} {sent}\n")


def log(line):
    """One write, so that lines of several processes do not mix."""
    descriptor = os.open(os.environ["TRUTH_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)
