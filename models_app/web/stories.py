"""Operations in words: what a person reads in the list on the Fleet page and elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from models_app.inventory.models import Gpu
from models_app.operations.models import Operation, OperationStep
from models_app.web.templatetags.berth import in_bytes, rate, short_name, span

State, Kind, Action = Operation.State, Operation.Kind, OperationStep.Action
RECENT = 6
MOST_ACTIVE = 12
"""Beside the hosts; what is below them, the alerts, has to be found. The list of operations has all."""

_LOOKS = {
    State.QUEUED: ("clock", "run"),
    State.RUNNING: ("circle-dashed", "run"),
    State.SUCCEEDED: ("circle-check", "good"),
    State.FAILED: ("circle-x", "bad"),
    State.CANCELLED: ("ban", "warn"),
}
_VERIFIED = {
    "process": "measured per process",
    "gpu": "measured on the GPU",
    "endpoint": "by the server's word, for there is no telemetry",
}


@dataclass(frozen=True, slots=True)
class Story:
    """One operation for the screen. ``since`` is when it began to be what it is; ``total_bytes`` makes a progress bar.

    ``gpus`` names those that it concerns, empty where none is known.
    """

    id: int
    verb: str
    model: str
    where: str
    gpus: str
    state: str
    state_words: str
    icon: str
    tone: str
    since: datetime
    sentence: str
    is_active: bool
    is_cancelling: bool
    progress_bytes: int | None
    total_bytes: int | None
    requested_by: str


def recent_stories(limit: int = RECENT, host_id: int | None = None) -> list[Story]:
    """The latest active operations, of one host or of all, then the latest that ended, newest first; a few queries.

    An apply that has ended stands for its parts.
    """
    rows = tellable(Operation.objects.all())
    rows = rows if host_id is None else rows.filter(endpoint__host=host_id)
    active = rows.filter(state__in=Operation.ACTIVE)[:MOST_ACTIVE]
    ended = rows.filter(part_of=None).exclude(state__in=Operation.ACTIVE).order_by("-finished_at", "-id")[:limit]
    return stories([*active, *ended])


def tellable(rows: QuerySet[Operation]) -> QuerySet[Operation]:
    """The operations with what ``stories`` reads of each, in a few queries however many they are."""
    return rows.select_related("endpoint__host").prefetch_related("steps", "reservations__gpu")


def stories(operations: Sequence[Operation]) -> list[Story]:
    """The operations, as ``tellable`` reads them, in words and in their order."""
    hosts = [row.endpoint.host_id if row.endpoint else 0 for row in operations]
    gpus = list(Gpu.objects.filter(host__in=set(hosts), present=True))
    on = {host: [gpu for gpu in gpus if gpu.host_id == host] for host in hosts}
    return [_story(row, on[host]) for row, host in zip(operations, hosts, strict=True)]


def _story(operation: Operation, gpus: Sequence[Gpu]) -> Story:
    state = State(operation.state)
    icon, tone = _LOOKS[state]
    return Story(
        id=operation.pk,
        verb=_verb(operation),
        model=operation.model_name,
        where=operation.endpoint.name if operation.endpoint else "several steps",
        gpus=_gpu_names(operation, gpus) if operation.kind in Operation.MOVES_MEMORY else "",
        state=state,
        state_words=operation.get_state_display(),
        icon=icon,
        tone=tone,
        since=operation.finished_at or operation.started_at or operation.created_at,
        sentence=_sentence(operation),
        is_active=operation.is_active,
        is_cancelling=operation.cancel_requested_at is not None,
        progress_bytes=operation.progress_bytes,
        total_bytes=operation.progress_total_bytes,
        requested_by=operation.requested_by,
    )


def _verb(operation: Operation) -> str:
    """What stands before the model's name: Load, or of a swap what makes way for it."""
    verb, gone = operation.get_kind_display(), [short_name(name) for name in operation.unload]
    if operation.kind != Kind.SWAP or not gone:
        return verb
    return f"{verb} {gone[0]} for" if len(gone) == 1 else f"{verb} {gone[0]} and {len(gone) - 1} more for"


def _gpu_names(operation: Operation, gpus: Sequence[Gpu]) -> str:
    """Where it was admitted, else what it holds, else the only GPU that there is."""
    concerned = set(operation.estimate.get("devices", ())) or {held.gpu.uuid for held in operation.reservations.all()}
    shown = [gpu for gpu in gpus if gpu.uuid in concerned or len(gpus) == 1]
    return " and ".join(f"GPU {gpu.index}" for gpu in shown)


def _sentence(operation: Operation) -> str:
    if operation.state == State.FAILED:
        return f"{operation.error_message or 'Failed.'}{_put_back(operation)}"
    if operation.state == State.SUCCEEDED:
        return _outcome(operation)
    if operation.state == State.CANCELLED:
        return f"{operation.error_message or 'Cancelled; nothing was left behind.'}{_put_back(operation)}"
    return " · ".join(part for part in (_phase(operation), _progress(operation)) if part)


def _put_back(operation: Operation) -> str:
    """What had made way, and whether it is there again."""
    back, lost = (" and ".join(map(short_name, operation.result.get(part, ()))) for part in ("restored", "not_restored"))
    return (f" Put back: {back}." if back else "") + (f" Could not be put back: {lost}." if lost else "")


def _phase(operation: Operation) -> str:
    if operation.cancel_requested_at:
        return "cancelling"
    return operation.phase or operation.get_state_display().lower()


def _progress(operation: Operation) -> str:
    if operation.progress_bytes is None:
        return ""
    memory = "RAM" if set(operation.estimate.get("devices", ())) == {""} else "VRAM"
    done = "downloaded" if operation.kind == Kind.PULL else f"{memory} risen"
    total = operation.progress_total_bytes
    about = "" if operation.kind == Kind.PULL else "about "
    return f"{done} {in_bytes(operation.progress_bytes)}" + (f" of {about}{in_bytes(total)}" if total else "")


def _outcome(operation: Operation) -> str:
    steps = [step for step in operation.steps.all() if step.state == OperationStep.State.DONE]
    parts = [_did("freed", operation, steps, Action.UNLOAD), _did("loaded", operation, steps, Action.LOAD)]
    if speed := operation.result.get("tokens_per_second"):
        return f"Writes {rate(speed)}."
    words = ", ".join(part for part in parts if part) or f"{operation.get_state_display()} in {_duration(operation)}"
    verified = _VERIFIED.get(operation.verified_by, "") if operation.kind in Operation.MOVES_MEMORY else ""
    return f"{words}; {verified}." if verified else f"{words}."


def _did(verb: str, operation: Operation, steps: Sequence[OperationStep], action: OperationStep.Action) -> str:
    """What its steps of one action came to. Its last step was measured by itself; what else a GPU's used bytes did
    meanwhile, such as a model that made way, is not its own."""
    done = [step for step in steps if step.action == action]
    times = [(step.finished_at - step.started_at).total_seconds() for step in done if step.started_at and step.finished_at]
    if not sum(times):
        return ""
    measured = operation.result.get("moved_bytes") if done == steps[-1:] else None
    moved = sum(_risen(step) for step in done) if measured is None else measured
    return f"{verb} {in_bytes(moved)} in {span(sum(times))}" if moved else f"{verb} in {span(sum(times))}"


def _risen(step: OperationStep) -> int:
    if step.before_bytes is None or step.after_bytes is None:
        return 0
    return abs(step.after_bytes - step.before_bytes)


def _duration(operation: Operation) -> str:
    if not operation.finished_at:
        return "–"
    return span(operation.finished_at - (operation.started_at or operation.created_at))
