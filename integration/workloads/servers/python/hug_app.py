import io

import hug
from truth import Answer

api = hug.API(__name__)


@hug.format.content_type("text/plain")
def plain(content, **_):
    return content


@hug.sink("/", api=api, output=plain)
def every(request, response):
    answer = Answer(request.method, request.path, request.bounded_stream.read())
    response.status = f"{answer.status} Told"
    return io.BytesIO(answer.body) if answer.is_streamed else answer.body
