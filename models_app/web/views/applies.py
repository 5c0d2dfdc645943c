"""What becomes of an apply that has ended: it is resumed or rolled back, once confirmed."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from models_app.accounts.roles import Actor
from models_app.operations.follow import request_resume, request_roll_back
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.web.access import admin_required
from models_app.web.confirm import Question, ask
from models_app.web.people import acting


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def resume(request: HttpRequest, operation_id: int) -> HttpResponse:
    """Continue an apply that stopped."""
    consequences = (
        "What is done and still stands is kept; every other step begins anew.",
        "Models that the remaining steps unload stop answering.",
    )
    return _follow(request, operation_id, request_resume, "Resume", consequences)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def roll_back(request: HttpRequest, operation_id: int) -> HttpResponse:
    """Undo what an apply has done."""
    consequences = (
        "Models that it loaded are unloaded, and requests to them fail.",
        "Models that it unloaded are loaded again, with the options they had.",
    )
    return _follow(request, operation_id, request_roll_back, "Roll back", consequences)


def _follow(
    request: HttpRequest,
    operation_id: int,
    follow: Callable[[Actor, Operation], Operation],
    action: str,
    consequences: tuple[str, ...],
) -> HttpResponse:
    operation = get_object_or_404(Operation, pk=operation_id)
    question = Question(
        f"{action} {operation.model_name}?",
        consequences,
        action,
        back=reverse("operation", args=[operation_id]),
        address=request.path,
    )
    if request.method != "POST":
        return ask(request, question)
    try:
        follower = follow(acting(request), operation)
    except RequestRefused as refused:
        return ask(request, question, refusal=refused.message, status=refused.status)
    return redirect("operation", operation_id=follower.pk)
