from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from truth import Answer

app = FastAPI()


@app.api_route("/{folder}/{name}", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
async def every(folder: str, name: str, request: Request):
    answer = Answer(request.method, f"/{folder}/{name}", await request.body())
    if answer.is_streamed:
        return StreamingResponse(iter(answer.parts), answer.status)
    return Response(answer.body, answer.status)
