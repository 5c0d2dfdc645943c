"""The question before something is lost: a page of its own, or the content of the dialog when htmx asks."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, what it costs, and the word on the button, empty where nobody may go on. ``back`` is the address that
    "no" leads to, ``keep`` the word for it.

    The answer is a ``POST`` of the ``fields`` and of ``flag`` to ``address``; empty is where the question was asked.
    ``in_place``: where a script asks, the page stays and hears what came of it. ``see`` is a link, its address and words.
    ``loses``: going on loses something, and its button warns.
    """

    title: str
    consequences: tuple[str, ...]
    action: str
    back: str
    address: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    flag: str = "confirmed"
    keep: str = "Keep it as it is"
    in_place: bool = False
    see: tuple[str, str] | None = None
    loses: bool = True


def ask(request: HttpRequest, question: Question, *, refusal: str = "", status: int = 200) -> HttpResponse:
    """Ask. ``refusal`` says why the last answer changed nothing."""
    is_dialog = request.headers.get("HX-Target") == "dialog" or (question.in_place and "HX-Request" in request.headers)
    context = {
        "question": question,
        "refusal": refusal,
        "is_dialog": is_dialog,
        "address": question.address or request.get_full_path(),
    }
    return render(request, "components/question.html" if is_dialog else "confirm.html", context, status=status)


def in_dialog(response: HttpResponse) -> HttpResponse:
    """Whatever a script asked for: put this into the dialog."""
    response["HX-Retarget"], response["HX-Reswap"] = "#dialog", "innerHTML"
    return response
