"""What Berth intends to be in memory once a step is done: residencies are made, changed and deleted here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils import timezone

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import LoadedModel, Residency
from models_app.operations.models import Operation, OperationStep
from models_app.operations.outcomes import Outcome

Action = OperationStep.Action


def intend(operation: Operation, step: OperationStep, outcome: Outcome) -> None:
    """Write down what a step that was carried out means for its model."""
    _INTENTIONS[step.action](operation, step, outcome)


def remember_load(operation: Operation, step: OperationStep, gpu_bytes: Mapping[str, int], verified_by: str) -> None:
    """Berth loaded this model, with these options; where processes do not show, its bytes are what rose."""
    where: dict[str, Any] = {"endpoint": operation.site, "name": step.model_name}
    residency = {
        "options": step.options,
        "pinned": LoadOptions(**step.options).pinned,
        "requested_by": operation.requested_by,
        "operation_id": operation.pk,
        "since": timezone.now(),
        "lost_at": None,
    }
    row, key = Residency(**where, **residency), ["endpoint", "name"]
    Residency.objects.bulk_create([row], update_conflicts=True, unique_fields=key, update_fields=list(residency))
    if gpu_bytes:
        attributed = {"gpu_bytes": dict(gpu_bytes), "attributed_by": verified_by}
        LoadedModel.objects.filter(**where).update(**attributed)


def _loaded(operation: Operation, step: OperationStep, outcome: Outcome) -> None:
    remember_load(operation, step, outcome.gpu_bytes, outcome.verified_by)


def _unloaded(operation: Operation, step: OperationStep, _outcome: Outcome) -> None:
    Residency.objects.filter(endpoint=operation.site, name=step.model_name).delete()


def _kept(operation: Operation, step: OperationStep, _outcome: Outcome) -> None:
    row = Residency.objects.filter(endpoint=operation.site, name=step.model_name)
    row.update(options=step.options)


def _no_intention(_operation: Operation, _step: OperationStep, _outcome: Outcome) -> None:
    """Files on disk and a measured speed are no intention about memory."""


_INTENTIONS: dict[str, Callable[[Operation, OperationStep, Outcome], None]] = {
    Action.LOAD: _loaded,
    Action.RESTORE: _loaded,
    Action.UNLOAD: _unloaded,
    Action.CLEAN_UP: _unloaded,
    Action.KEEP_ALIVE: _kept,
    Action.PULL: _no_intention,
    Action.DELETE: _no_intention,
    Action.MEASURE: _no_intention,
}
