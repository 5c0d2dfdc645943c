"""What strategy fits a set of models: a question that changes nothing."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_app.operations.refusals import RequestRefused
from models_app.operations.serving import serving
from models_app.telemetry.sources import sample_now
from models_app.web.access import member_required
from models_app.web.fit_page import fresh_sample
from models_app.web.together import TogetherPage, together_page
from models_app.web.together_form import TogetherForm


@member_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The form as filled so far; the answer once models are chosen."""
    form = TogetherForm(request.GET)
    answer = _answer(form)
    return render(request, "models/together.html", {"form": form, "answer": answer})


def _answer(form: TogetherForm) -> TogetherPage | None:
    question = form.question()
    if question is None:
        return None
    host = question.host
    try:
        return together_page(serving(question, fresh_sample(host).get(host.pk) or sample_now(host)))
    except RequestRefused as refused:
        form.add_error("context_length", refused.message)
        return None
