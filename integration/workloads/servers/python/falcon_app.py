import falcon.asgi
from truth import Answer


class Every:
    async def answer(self, request, response, folder, name):
        answer = Answer(request.method, f"/{folder}/{name}", await request.bounded_stream.read())
        response.status = answer.status
        if answer.is_streamed:
            response.stream = parts(answer)
        else:
            response.data = answer.body

    on_get = on_head = on_post = on_put = on_delete = answer


async def parts(answer):
    for part in answer.parts:
        yield part


app = falcon.asgi.App()
app.add_route("/{folder}/{name}", Every())
