import sys

from pyramid.config import Configurator
from pyramid.response import Response
from truth import Answer
from waitress import serve


def every(request):
    answer = Answer(request.method, request.path, request.body)
    if answer.is_streamed:
        return Response(app_iter=iter(answer.parts), status=answer.status)
    return Response(answer.body, status=answer.status)


with Configurator() as config:
    config.add_route("every", "/{folder}/{name}")
    config.add_view(every, route_name="every")
    app = config.make_wsgi_app()

serve(app, listen=f"127.0.0.1:{sys.argv[1]}")
