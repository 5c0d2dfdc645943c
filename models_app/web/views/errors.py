"""What a person sees when the panel itself fails, is reached by a wrong name, or gets a form that is too old."""

from __future__ import annotations

import sys

from django.core.exceptions import DisallowedHost
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.defaults import server_error as djangos

from controlpanel.database import trouble_of
from models_app.web.middleware import page_of

_OUT_OF_DATE = "This page is out of date, and nothing was changed. Reload it."


def server_error(request: HttpRequest) -> HttpResponse:
    """503 with what to do where the database cannot work, else 500. The page reads nothing from the database."""
    error = sys.exc_info()[1]
    if not isinstance(error, OperationalError):
        return djangos(request)
    sentence = trouble_of(error).sentence
    page = render_to_string("503.html", {"sentence": sentence})
    return HttpResponse(page, status=503, headers={"Berth-Trouble": sentence})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, with what to do where the panel is reached by a name that it does not know."""
    page = render_to_string("400.html", {"is_unknown_name": isinstance(exception, DisallowedHost)})
    return HttpResponse(page, status=400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the token of this login, or one that seems to come from another address than the panel's."""
    came_to = f"{request.scheme}://{request.get_host()}"
    came_from = request.headers.get("Origin", "")
    context = {"back": page_of(request), "came_to": came_to, "came_from": came_from if came_from != came_to else ""}
    answer = render(request, "403_csrf.html", context, status=403)
    answer["Berth-Trouble"] = _OUT_OF_DATE
    return answer
