import sys

from bottle import HTTPResponse, request, route, run
from truth import Answer


@route("/<folder>/<name>", method=["GET", "HEAD", "POST", "PUT", "DELETE"])
def every(folder, name):
    answer = Answer(request.method, f"/{folder}/{name}", request.body.read())
    return HttpResponse(answer) if answer.is_streamed else HTTPResponse(answer.body, answer.status)


def HttpResponse(answer):
    return HTTPResponse(iter(answer.parts), answer.status)


run(host="127.0.0.1", port=int(sys.argv[1]), quiet=True)
