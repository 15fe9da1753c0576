import sys

from sanic import Sanic
from sanic.response import raw
from truth import Answer

app = Sanic("every")


@app.route("/<folder>/<name>", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
async def every(request, folder, name):
    answer = Answer(request.method, f"/{folder}/{name}", request.body)
    if not answer.is_streamed:
        return raw(answer.body, answer.status)
    response = await request.respond(status=answer.status)
    for part in answer.parts:
        await response.send(part)
    await response.eof()


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), motd=False, access_log=False)
