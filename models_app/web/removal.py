"""Removing a host or an endpoint from the list: the question, and what comes of the answer."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from models_app.inventory.errors import InventoryRefused
from models_app.inventory.guards import check_guard, check_unmanaged, losses
from models_app.inventory.models import Endpoint, Host
from models_app.operations.in_use import in_use
from models_app.web.confirm import Question, ask
from models_app.web.losses import loss_sentences


def ask_and_remove(request: HttpRequest, row: Host | Endpoint, remove: Callable[[], object]) -> HttpResponse:
    """Ask first; then remove, or say why not."""
    question = _question(row)
    if request.method != "POST":
        return ask(request, question, refusal=_objection(row))
    try:
        remove()
    except InventoryRefused as refused:
        return ask(request, question, refusal=_words(refused), status=409)
    messages.success(request, f"{row.name} is no longer in the list.")
    return redirect("hosts")


def _objection(row: Host | Endpoint) -> str:
    """Why the answer would change nothing, as far as that is known now; empty where nothing speaks against it."""
    try:
        for endpoint in row.endpoints.all() if isinstance(row, Host) else [row]:
            check_unmanaged(endpoint)
            check_guard(endpoint, in_use)
    except InventoryRefused as refused:
        return _words(refused)
    return ""


def _words(refused: InventoryRefused) -> str:
    return f"{refused.message} {refused.hint}".strip()


def say_who_was_silent(request: HttpRequest, name: str, silent: list[str], news: str = "") -> HttpResponse:
    """After another look: who did not answer, or that everything is up to date."""
    if silent:
        messages.warning(request, f"{', '.join(silent)} did not answer; the list says why.")
    else:
        messages.success(request, f"{name} is up to date.{news}")
    return redirect("hosts")


def _question(row: Host | Endpoint) -> Question:
    if isinstance(row, Host):
        title, address = f"Remove {row.name}?", "host_remove"
        stays = "The servers on it go on running with what they have loaded; Berth only stops looking."
    else:
        title, address = f"Remove {row.name} from {row.host.name}?", "host_endpoint_remove"
        if row.state == Endpoint.State.ONLINE:
            stays = "The server itself goes on running with what it has loaded; Berth only stops looking."
        else:
            stays = "It does not answer now. Should it come back, Berth does not look at it until it is added again."
    return Question(
        title=title,
        consequences=(*loss_sentences(losses(row)), stays),
        action="Remove",
        back=reverse("hosts"),
        address=reverse(address, args=[row.pk]),
    )
