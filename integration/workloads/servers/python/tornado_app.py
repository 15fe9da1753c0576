import asyncio
import sys

from tornado.web import Application, RequestHandler
from truth import Answer


class Every(RequestHandler):
    async def answer(self):
        answer = Answer(self.request.method, self.request.path, self.request.body)
        self.set_status(answer.status)
        for part in answer.parts:
            self.write(part)
            if answer.is_streamed:
                await self.flush()

    get = head = post = put = delete = answer


async def main():
    Application([(r"/.*", Every)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
