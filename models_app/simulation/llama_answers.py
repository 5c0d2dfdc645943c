"""Answers and refusals that llama-server gives in both of its modes."""

from __future__ import annotations

import json
from typing import Any

from models_app.simulation.messages import Answer, HttpError, Request, json_answer

NAME_HEADER = {"server": "llama.cpp"}
OPEN_PATHS = frozenset({"/health", "/v1/health"})
"""The paths that need no key."""


def answer(value: Any, status: int = 200) -> Answer:
    """JSON under the name of llama.cpp."""
    plain = json_answer(value, status)
    return Answer(plain.status, plain.body, plain.content_type, NAME_HEADER)


def _http_library_error(code: int, message: str, kind: str) -> Answer:
    return answer({"error": {"message": message, "type": kind, "code": code}}, code)


FILE_NOT_FOUND = _http_library_error(404, "File Not Found", "not_found_error")
"""For an unknown path or, from the router's load, an unknown model."""
LOADING = _http_library_error(503, "Loading model", "unavailable_error")
"""For every path while the model is being loaded."""
WRONG_KEY = _http_library_error(401, "Invalid API Key", "authentication_error")


def failure(code: int, message: str, kind: str = "server_error") -> HttpError:
    """An error of the server's own code."""
    return HttpError(answer({"error": {"code": code, "message": message, "type": kind}}, code))


def invalid(message: str) -> HttpError:
    """400."""
    return failure(400, message, "invalid_request_error")


def not_supported(what: str, flag: str) -> HttpError:
    """501: the endpoint was not switched on."""
    return failure(501, f"This server does not support {what}. Start it with `{flag}`", "not_supported_error")


def writes_no_text() -> HttpError:
    """500: an embedding model was asked for text."""
    return failure(500, "the current context does not support logits computation. skipping")


def refusal(request: Request, api_key: str | None) -> Answer | None:
    """401 unless the request bears the key, as a bearer token or in ``X-Api-Key``."""
    if api_key is None or request.path in OPEN_PATHS:
        return None
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return None if api_key in {bearer, request.headers.get("x-api-key", "")} else WRONG_KEY


def parse(request: Request) -> dict[str, Any]:
    """The request's JSON object. Bad JSON is a 500, as recorded."""
    try:
        value = json.loads(request.body.decode(errors="replace") or "{}")
    except json.JSONDecodeError as error:
        read = error.doc[: error.pos + 1]
        place = f"parse error at line {error.lineno}, column {error.colno}: syntax error while parsing object key"
        problem = f"invalid literal; last read: '{read}'; expected string literal"
        raise failure(500, f"[json.exception.parse_error.101] {place} - {problem}") from None
    return value if isinstance(value, dict) else {}
