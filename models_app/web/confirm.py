"""The question before something is lost: a page of its own, or the content of the dialog when htmx asks."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, what it costs, and the word on the button. ``back`` is the address that "no" leads to.

    The answer is a ``POST`` of the ``fields`` and of ``confirmed`` to ``address``; empty is where the question was asked.
    """

    title: str
    consequences: tuple[str, ...]
    action: str
    back: str
    address: str = ""
    fields: tuple[tuple[str, str], ...] = ()


def ask(request: HttpRequest, question: Question, *, refusal: str = "", status: int = 200) -> HttpResponse:
    """Ask. ``refusal`` says why the last answer changed nothing."""
    is_dialog = request.headers.get("HX-Target") == "dialog"
    context = {
        "question": question,
        "refusal": refusal,
        "is_dialog": is_dialog,
        "address": question.address or request.get_full_path(),
    }
    return render(request, "components/question.html" if is_dialog else "confirm.html", context, status=status)
