"""Every error of the REST API is a problem document (RFC 9457) with a stable ``code`` for machines.

``{"type": "about:blank", "title": "Conflict", "status": 409, "code": "does_not_fit", "detail": "A sentence.",
"errors": [{"field": "options.context_length", "message": "…"}]}``; a refusal may add members of its own.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

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
        Http404: lambda error: Problem(404, "not_found", str(error) or "There is no such thing."),
        RequestDataTooBig: lambda _: Problem(413, "too_large", "The request's body is too large."),
        BadRequest: lambda error: Problem(400, "bad_request", str(error)),
        Throttled: lambda _: Problem(429, "too_many_requests", "Too many requests; wait a moment."),
        HttpError: lambda error: Problem(error.status_code, "bad_request", str(error)),
        OperationalError: _database,
        Exception: _unexpected,
    }
    for kind, to_problem in handlers.items():
        api.add_exception_handler(kind, _handler(to_problem))


def _handler(to_problem: Any) -> Any:
    def handle(request: HttpRequest, error: Exception) -> HttpResponse:
        return respond(to_problem(error))

    return handle


def _invalid(error: ValidationError) -> Problem:
    faults = [{"field": _field(fault.get("loc", ())), "message": str(fault.get("msg", ""))} for fault in error.errors]
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
