"""Static files under ASGI: WhiteNoise finds a file and writes its headers, the body is read whole."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise with answers that are no streams.

    Its own stream is an iterator that Django's ASGI handler has to read to the end in a thread, with a warning for each
    file. The panel's files are a few dozen KiB.
    """

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:  # type: ignore[override]  # as its own middleware
        """The file, the part of it that was asked for, or that it has not changed."""
        found = static_file.get_response(request.method, request.META)  # type: ignore[no-untyped-call]
        body = b""
        if found.file is not None:
            with found.file:
                body = cast(bytes, found.file.read())
        response = HttpResponse(body, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        if found.file is not None:  # the file may have been replaced since its length was noted
            response["Content-Length"] = str(len(body))
        return response
