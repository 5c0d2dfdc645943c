"""The past of a GPU or of a model: charts, and the same as a table."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from models_app.inventory.models import Endpoint, Gpu
from models_app.inventory.references import row_id
from models_app.operations.models import Operation
from models_app.web import history_page as past
from models_app.web.access import member_required
from models_app.web.stories import stories, tellable

MOST_STORIES = 50
FIGURES = (("utilization", "Utilisation"), ("temperature", "Temperature"), ("power", "Power"))


@require_safe
@member_required
def page(request: HttpRequest) -> HttpResponse:
    """``?gpu=ID``, or ``?model=NAME&endpoint=ID``; without either, the first GPU. ``&range=`` is one of ``RANGES``,
    by default one that fits what there is."""
    subject, asked = _subject(request), request.GET.get("range", "")
    asked = asked if asked in past.RANGES else ""
    context: dict[str, Any] = {"choices": past.choices(), "ranges": past.RANGES, "asked": asked, "subject": subject}
    if subject is None:
        return render(request, "history/page.html", context)
    until = timezone.now()
    chosen = asked or past.fitting_range(subject, until)
    since = until - past.RANGES[chosen][1]
    found = subject.history(since, until, past.ROWS)
    operations = Operation.objects.filter(_of(subject), kind__in=Operation.MOVES_MEMORY, created_at__gte=since)
    columns = past.columns(found, subject)
    context |= {
        "chosen": chosen,
        "shares": past.shares(found, subject),
        "figures": FIGURES,
        "columns": columns,
        "rows": past.table(found, columns),
        "step_seconds": found.step_seconds,
        "stories": stories(list(tellable(operations).order_by("-pk")[:MOST_STORIES])),
        "source": past.source(subject),
        "span_seconds": round((until - since).total_seconds()),
        "csv": past.source(subject, since, until, "csv"),
        "json": past.source(subject, since, until, "json"),
    }
    return render(request, "history/page.html", context)


def _subject(request: HttpRequest) -> past.Subject | None:
    gpu_id, endpoint_id, model = (request.GET.get(name, "") for name in ("gpu", "endpoint", "model"))
    gpus, endpoints = Gpu.objects.select_related("host"), Endpoint.objects.select_related("host")
    if model and endpoint_id:
        endpoint = endpoints.filter(pk=row_id(endpoint_id)).first()
        if endpoint is None or "\x00" in model:
            raise Http404("No endpoint has that id any more.")
        return past.model_subject(endpoint, model[:255])
    gpu = gpus.filter(pk=row_id(gpu_id)).first() if gpu_id else gpus.order_by("-present", "host__name", "index").first()
    if gpu is None and gpu_id:
        raise Http404("No GPU has that id any more.")
    return past.gpu_subject(gpu) if gpu else None


def _of(subject: past.Subject) -> Q:
    if subject.gpu:
        return Q(endpoint__host=subject.host)
    return Q(endpoint=subject.endpoint, model_name=subject.model)
