"""What it costs to have a model back: the seconds that its loads took here, and how often it was loaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from django.db.models import QuerySet
from django.utils import timezone

from models_app.estimator.keep_alive import KeepAliveAdvice, advise_keep_alive
from models_app.estimator.strategy import READ_BYTES_PER_SECOND
from models_app.inventory.models import Endpoint
from models_app.operations.models import OperationStep

LOADS_READ = 5
LOOKED_BACK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Reload:
    """Seconds that a load takes: the median of the latest ones, else by the size of its files. ``None`` where unknown."""

    seconds: float | None
    is_measured: bool


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How long a model should stay when idle. ``requests_per_hour`` was said by a person (``is_told``), or follows from the
    ``loads`` that Berth did in the last week, which are the least that it was asked for."""

    advice: KeepAliveAdvice
    requests_per_hour: float
    is_told: bool
    loads: int
    reload: Reload


def reload_of(endpoint: Endpoint, model: str, size_bytes: int) -> Reload:
    """What a load of a model takes on an endpoint."""
    took = [_seconds(step) for step in _loads(endpoint, model)[:LOADS_READ]]
    if took:
        return Reload(median(took), True)
    return Reload(size_bytes / READ_BYTES_PER_SECOND if size_bytes else None, False)


def keep_alive_of(
    endpoint: Endpoint, model: str, size_bytes: int, requests_per_hour: float | None = None
) -> KeepAlive | None:
    """The advice; ``None`` where nobody said how often the model is asked for, and Berth has not loaded it for a week."""
    reload = reload_of(endpoint, model, size_bytes)
    loads = _loads(endpoint, model).filter(started_at__gte=timezone.now() - LOOKED_BACK).count()
    is_told = requests_per_hour is not None
    often = loads / (LOOKED_BACK.total_seconds() / 3600) if requests_per_hour is None else requests_per_hour
    if not is_told and not loads:
        return None
    return KeepAlive(advise_keep_alive(often, reload.seconds), often, is_told, loads, reload)


def _loads(endpoint: Endpoint, model: str) -> QuerySet[OperationStep]:
    done = OperationStep.objects.filter(action=OperationStep.Action.LOAD, state=OperationStep.State.DONE)
    mine = done.filter(operation__endpoint=endpoint, model_name=model, started_at__isnull=False)
    return mine.order_by("-id")


def _seconds(step: OperationStep) -> float:
    return (step.finished_at - step.started_at).total_seconds() if step.finished_at and step.started_at else 0.0
