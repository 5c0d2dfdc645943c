"""``/healthz``: this process answers. ``/readyz``: the panel can do its work, and if not, which part cannot."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError as BrokerError

from controlpanel.celery import app
from controlpanel.database import disk_is_full
from models_app.operations.heartbeats import is_alive

Check = Callable[[], str]
"""Returns what is wrong in a sentence, or nothing."""


@require_safe
@never_cache
def alive(request: HttpRequest) -> HttpResponse:
    """200 as long as the process serves requests."""
    return JsonResponse({"status": "alive"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """200 when database, queue, worker and reconciler work, else 503. A machine without a GPU is ready."""
    wrong = {name: check() for name, check in CHECKS.items()}
    parts = {name: sentence or "ok" for name, sentence in wrong.items()}
    if not any(wrong.values()):
        return JsonResponse({"status": "ready", "parts": parts})
    reason = " ".join(filter(None, wrong.values())).rstrip(".")  # the log tells it
    return JsonResponse({"status": "not ready", "parts": parts}, status=503, reason=reason)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "The database does not answer."
    return "The disk of the data folder is full." if disk_is_full() else ""


def _queue() -> str:
    if not settings.REDIS_URL:
        return ""
    try:
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=2)
    except (BrokerError, OSError):
        return "Redis does not answer."
    return ""


def _worker() -> str:
    if _is_alive("worker"):
        return ""
    if _is_alive("reconciler"):
        return "No worker has been seen for a while."
    return "No worker can be seen: the reconciler asks them for a sign of life."


def _reconciler() -> str:
    return "" if _is_alive("reconciler") else "The reconciler has not been seen for a while."


def _is_alive(name: str) -> bool:
    try:
        return is_alive(name)
    except DatabaseError:
        return False


CHECKS: dict[str, Check] = {"database": _database, "queue": _queue, "worker": _worker, "reconciler": _reconciler}
