"""The body of a request: JSON that says that it is JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from models_app.api.errors import Problem


class Bodies(Parser):
    """Reads JSON, and refuses what says to be something else, such as the form that ``curl -d`` sends without a header."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """The body. Raises ``Problem`` (415) and ``ValueError``."""
        kind = request.content_type or ""
        if kind != "application/json" and not kind.endswith("+json"):
            said = f", not {kind}" if kind else ""
            sentence = f"Send JSON{said}, with the header Content-Type: application/json."
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", sentence)
        return super().parse_body(request)
