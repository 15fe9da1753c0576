from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from truth import Answer

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of a test", LOGGING_CONFIG=None)


def every(request, folder, name):
    answer = Answer(request.method, f"/{folder}/{name}", request.body)
    if answer.is_streamed:
        return StreamingHttpResponse(iter(answer.parts), status=answer.status)
    return HttpResponse(answer.body, status=answer.status)


urlpatterns = [path("<folder>/<name>", every)]
app = get_wsgi_application()
