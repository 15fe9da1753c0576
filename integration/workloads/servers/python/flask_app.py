from flask import Flask, Response, request
from truth import Answer

app = Flask(__name__)


@app.route("/<folder>/<name>", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
def every(folder, name):
    answer = Answer(request.method, f"/{folder}/{name}", request.get_data())
    return Response(iter(answer.parts) if answer.is_streamed else answer.body, answer.status)
