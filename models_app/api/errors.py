"""Every error of the REST API is a problem document (RFC 9457) with a stable ``code`` for machines.

``{"type": "about:blank", "title": "Conflict", "status": 409, "code": "does_not_fit", "detail": "A sentence.",
"errors": [{"field": "options.context_length", "message": "…"}]}``; a refusal may add members of its own.
"""

from __future__ import annotations

import json
import logging
import re
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from controlpanel.database import trouble_of

log = logging.getLogger(__name__)


class FieldProblem(Schema):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemDocument(Schema):
    """An RFC 9457 problem document."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem] = []


class Problem(Exception):
    """An error to be answered as a problem document. ``members`` are added to it as they are."""

    def __init__(self, status: int, code: str, detail: str, *, field: str = "", **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members
        if field:
            self.members["errors"] = [{"field": field, "message": detail}]


RESPONSES = {
    "4XX": {
        "description": "Refused: a problem document with a stable code.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
}


def description() -> dict[str, Any]:
    """The schemas that ``RESPONSES`` refers to."""
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "ProblemDocument": schema}


def respond(problem: Problem) -> HttpResponse:
    """The problem as a response."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.members,
    }
    response = HttpResponse(json.dumps(body), status=problem.status, content_type="application/problem+json")
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="Berth"'
    return response


def install(api: NinjaAPI) -> None:
    """Make the API answer every error in this form."""
    handlers: dict[type[Exception], Any] = {
        Problem: lambda error: error,
        ValidationError: _invalid,
        AuthenticationError: lambda _: Problem(401, "unauthenticated", "Send a valid token: Authorization: Bearer …"),
        PermissionDenied: lambda error: Problem(403, "forbidden", str(error) or "You may not do this."),
        Http404: _not_found,
        RequestDataTooBig: _too_large,
        BadRequest: lambda error: Problem(400, "bad_request", str(error)),
        Throttled: lambda _: Problem(429, "too_many_requests", "Too many requests; wait a moment."),
        HttpError: _bad_request,
        OperationalError: _database,
        Exception: _unexpected,
    }
    for kind, to_problem in handlers.items():
        api.add_exception_handler(kind, _handler(to_problem))


def _handler(to_problem: Any) -> Any:
    def handle(request: HttpRequest, error: Exception) -> HttpResponse:
        return respond(to_problem(error))

    return handle


_NO_ROW = re.compile(r"No (\w+) matches the given query\.")


def _not_found(error: Http404) -> Problem:
    """Django's own words for a missing row say nothing of an id."""
    missing = _NO_ROW.fullmatch(str(error))
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", missing[1]).lower() if missing else ""
    return Problem(404, "not_found", f"No {kind} has that id." if kind else str(error) or "There is no such thing.")


def _too_large(_: RequestDataTooBig) -> Problem:
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024
    return Problem(413, "too_large", f"The request's body is too large: send at most {most:,} KiB.")


def _bad_request(error: HttpError) -> Problem:
    if isinstance(error.__cause__, Problem):  # what reads the body says what is wrong with it; ninja wraps it
        return error.__cause__
    told = "The body is no JSON: send a JSON object in UTF-8." if str(error) == "Cannot parse request body" else str(error)
    return Problem(error.status_code, "bad_request", told)


_FAULTS = {
    "missing": "It is required.",
    "extra_forbidden": "There is no such field.",
    "model_attributes_type": "It must be a JSON object.",
}
"""Sentences in place of those that pydantic writes for people who know its classes."""


def _invalid(error: ValidationError) -> Problem:
    faults = [
        {"field": _field(fault.get("loc", ())), "message": _FAULTS.get(fault.get("type", ""), str(fault.get("msg", "")))}
        for fault in error.errors
    ]
    sentence = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults[:5])
    return Problem(422, "invalid_request", sentence or "The request is not valid.", errors=faults)


def _field(location: tuple[Any, ...] | list[Any]) -> str:
    """``("body", "request", "options", "gpu")`` → ``options.gpu``: where the sender put it, without ninja's wrapping."""
    parts = [str(part) for part in location]
    if parts and parts[0] == "query":  # parameters are flat; one that is repeated has its place behind its name
        return [part for part in location if isinstance(part, str)][-1]
    if parts and parts[0] in {"body", "path", "header", "form"}:
        parts = parts[2:] if parts[0] == "body" and len(parts) > 2 else parts[1:]
    return ".".join(parts)


def _database(error: OperationalError) -> Problem:
    log.error("database unavailable: %s", error)
    trouble = trouble_of(error)
    return Problem(503, trouble.code, trouble.sentence)


def _unexpected(error: Exception) -> Problem:
    log.error("unexpected error in the API", exc_info=error)
    return Problem(500, "internal_error", "Something went wrong inside the panel; its log says what.")
