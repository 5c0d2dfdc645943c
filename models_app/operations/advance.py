"""How an apply goes on: its row is locked, ended steps are settled, and steps whose turn has come become operations.

Anyone may call ``advance`` at any time, twice or side by side: a step is claimed under the lock and becomes one operation
only. After a failure or a request to cancel nothing more begins; what runs comes to its end first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app.accounts.roles import Actor, Via
from models_app.inventory.models import Gpu
from models_app.live import Topic, publish
from models_app.operations import states
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.operations.states import State
from models_app.operations.submission import StepTaken, submit
from models_app.operations.wording import gib

StepState = ApplyStep.State
NOT_NEEDED = frozenset({"already_loaded", "not_loaded"})
"""Refusals that say that things are as the step would have them."""


def advance_for(operation_id: int) -> None:
    """Let the apply go on that an operation is a part of."""
    active = ApplyStep.objects.filter(operation__state__in=Operation.ACTIVE, part=operation_id)
    for apply_id in active.values_list("operation_id", flat=True):
        advance(apply_id)


def advance(operation_id: int) -> None:
    """Do what is due of an apply; nothing of any other operation."""
    while claimed := _claim(operation_id):
        for step in claimed:
            _begin(step)


@transaction.atomic
def _claim(operation_id: int) -> list[ApplyStep]:
    """Settle, and mark what begins now: the steps that are to become operations."""
    applies = Operation.objects.filter(pk=operation_id, kind=Operation.Kind.APPLY, state__in=Operation.ACTIVE)
    operation = applies.select_for_update().first()
    if operation is None:
        return []
    if operation.cancel_requested_at:
        _cancel_parts(operation)
    steps = list(operation.apply_steps.select_related("operation", "endpoint__host", "part").order_by("position"))
    for step in steps:
        if step.state == StepState.RUNNING and step.part and not step.part.is_active:
            _settle(operation, step, step.part)
    if operation.cancel_requested_at or operation.error_code:
        _hold_back(steps)
    else:
        _mark_ready(steps)
    _write_state(operation, steps)
    return [step for step in steps if step.state == StepState.RUNNING and step.part is None]


def _settle(operation: Operation, step: ApplyStep, part: Operation) -> None:
    """What became of the step's operation; an unload keeps the options that the model had."""
    step.verified_by, step.moved_bytes = part.verified_by, part.result.get("moved_bytes")
    step.seconds = part.result.get("seconds")
    if step.kind == Operation.Kind.UNLOAD:
        unload = part.steps.filter(action=OperationStep.Action.UNLOAD).first()
        step.options = unload.options if unload else {}
    if part.state == State.SUCCEEDED:
        was_needed = part.steps.filter(state=OperationStep.State.DONE).exists()
        _end_step(step, StepState.DONE if was_needed else StepState.SKIPPED, " ".join(part.result.get("notes", ())))
    elif part.state == State.CANCELLED and operation.cancel_requested_at:
        _end_step(step, StepState.FAILED, part.error_message or "Cancelled.")
    else:
        _fail(operation, step, part.error_code or part.state, part.error_message or "It was cancelled.")


def _end_step(step: ApplyStep, state: ApplyStep.State, detail: str) -> None:
    step.state, step.detail = state, detail
    step.save()
    figures = [gib(step.moved_bytes) if step.moved_bytes else "", f"{step.seconds:.1f} s" if step.seconds else ""]
    text = f"{step.get_kind_display()} {step.model_name} on {step.endpoint.name}: {step.get_state_display().lower()}"
    told = ", ".join([text, *filter(None, figures)]) + (f". {detail}" if detail else ".")
    OperationLog.objects.create(operation_id=step.operation_id, text=told)


def _fail(operation: Operation, step: ApplyStep, code: str, why: str) -> None:
    _end_step(step, StepState.FAILED, why)
    if operation.error_code:
        return
    operation.error_code = code
    operation.error_message = f"Step {step.position + 1}, {step}: {why}"
    operation.save(update_fields=["error_code", "error_message"])


def _cancel_parts(operation: Operation) -> None:
    parts = Operation.objects.filter(part_of__operation=operation, cancel_requested_at=None, state__in=Operation.ACTIVE)
    for part in list(parts):
        Operation.objects.filter(pk=part.pk).update(cancel_requested_at=operation.cancel_requested_at)
        states.transition(part.pk, State.QUEUED, State.CANCELLED, "", phase="cancelled")


def _hold_back(steps: Sequence[ApplyStep]) -> None:
    """What was about to begin does not."""
    for step in steps:
        if step.state == StepState.RUNNING and step.part is None:
            step.state = StepState.PENDING
            step.save(update_fields=["state"])


def _mark_ready(steps: Sequence[ApplyStep]) -> None:
    """Claim, in their order, the steps that wait for nothing and share no GPU with one that runs."""
    waiting_for = {step.position for step in steps if step.state not in ApplyStep.SETTLED}
    busy = {place for step in steps if step.state == StepState.RUNNING for place in _places(step)}
    for step in steps:
        if step.state == StepState.PENDING and not waiting_for & set(step.after):
            places = _places(step)
            if not busy & places:
                step.state = StepState.RUNNING
                step.save(update_fields=["state"])
            busy |= places  # a step that waits for a GPU is not overtaken there


def _places(step: ApplyStep) -> set[str]:
    """What two steps must not change at once: the step's GPUs, else all of its host."""
    host_id = step.endpoint.host_id
    gpus = step.gpus or Gpu.objects.filter(host=host_id).values_list("uuid", flat=True)
    return set(gpus) or {f"host {host_id}"}


def _write_state(operation: Operation, steps: Sequence[ApplyStep]) -> None:
    if operation.state == State.QUEUED:
        states.transition(operation.pk, State.QUEUED, State.RUNNING, "", started_at=timezone.now(), attempt=1)
    running = [step for step in steps if step.state == StepState.RUNNING]
    is_stopped = operation.cancel_requested_at or operation.error_code
    if running or (not is_stopped and any(step.state == StepState.PENDING for step in steps)):
        done = sum(step.state in ApplyStep.SETTLED for step in steps)
        now = ", ".join(f"{step.kind} {step.model_name}" for step in running)
        phase = f"{done} of {len(steps)} steps done" + (f"; {now}" if now else "")
        Operation.objects.filter(pk=operation.pk).exclude(phase=phase[:60]).update(phase=phase[:60])
        publish(Topic.OPERATION, operation.pk)
    else:
        _end(operation, steps)


def _end(operation: Operation, steps: Sequence[ApplyStep]) -> None:
    left = sum(step.state == StepState.PENDING for step in steps)
    state, columns = State.SUCCEEDED, _columns(operation, steps)
    if operation.error_code:
        state = State.FAILED
        columns["error_message"] = f"{operation.error_message} {_left(left)}".strip()
    elif operation.cancel_requested_at:
        state = State.CANCELLED
        columns |= {"error_code": "cancelled", "error_message": f"Cancelled. {_left(left)}".strip()}
    states.transition(operation.pk, State.RUNNING, state, "", phase=state.value, **columns)


def _left(count: int) -> str:
    words = {0: "", 1: "One step has not begun."}
    return words.get(count, f"{count} steps have not begun.")


def _columns(operation: Operation, steps: Sequence[ApplyStep]) -> dict[str, Any]:
    started_at = operation.started_at or timezone.now()
    seconds = round((timezone.now() - started_at).total_seconds(), 3)
    counts = {str(state): sum(step.state == state for step in steps) for state in StepState}
    return {"result": {"seconds": seconds, "steps": {state: count for state, count in counts.items() if count}}}


def _begin(step: ApplyStep) -> None:
    """Make the step an operation, unless another worker has; a refusal settles it."""
    asked_by = step.operation
    actor = Actor(asked_by.user_id, asked_by.requested_by, Via(asked_by.via))
    options = stored_options(step.options if step.kind == Operation.Kind.LOAD else {})
    kind = Operation.Kind(step.kind)
    request = Request(kind, actor, step.endpoint, step.model_name, options, confirmed=True, step_id=step.pk)
    try:
        submit(request)
    except StepTaken:
        return
    except RequestRefused as refused:
        _refuse(step.pk, refused)


@transaction.atomic
def _refuse(step_id: int, refused: RequestRefused) -> None:
    steps = ApplyStep.objects.select_for_update().select_related("operation", "endpoint")
    step = steps.filter(pk=step_id, state=StepState.RUNNING, part=None).first()
    if step is None:
        return
    if refused.code in NOT_NEEDED:
        _end_step(step, StepState.SKIPPED, refused.message)
    else:
        _fail(step.operation, step, refused.code, refused.message)
