import sys

import cherrypy
from truth import Answer


class Every:
    @cherrypy.expose
    def default(self, folder, name):
        request, response = cherrypy.request, cherrypy.response
        answer = Answer(request.method, f"/{folder}/{name}", request.body.read() if request.process_request_body else b"")
        response.status = answer.status
        return iter(answer.parts) if answer.is_streamed else answer.body


# A form would be parsed, so every body is taken as it is; a stream keeps its unknown length.
config = {"/": {"request.body.processors": {}, "response.stream": True}}
cherrypy.config.update({
    "server.socket_host": "127.0.0.1",
    "server.socket_port": int(sys.argv[1]),
    "environment": "production",
})
cherrypy.quickstart(Every(), "/", config)
