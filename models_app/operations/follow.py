"""What becomes of an apply that has ended: another one continues it, or undoes it. Its own rows say all that this needs.

Both return the queued ``Operation`` and raise ``RequestRefused`` (``not_ended``, ``already_followed``,
``nothing_to_resume``, ``nothing_to_roll_back``, or what an apply is refused for).
"""

from __future__ import annotations

from collections.abc import Sequence

from models_app.accounts.roles import Actor
from models_app.inventory.models import LoadedModel
from models_app.operations.apply import create_apply
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.models import Operation
from models_app.operations.options import stored_options
from models_app.operations.refusals import RequestRefused

Kind, State = Operation.Kind, ApplyStep.State


def request_resume(actor: Actor, operation: Operation) -> Operation:
    """Continue an apply that stopped: what is done and still stands is kept, the rest begins anew."""
    rows = [_again(step) for step in _steps_to_follow(operation)]
    if all(row.state in ApplyStep.SETTLED for row in rows):
        message = f"Everything that operation {operation.pk} was to do is done; there is nothing to resume."
        raise RequestRefused("nothing_to_resume", message, status=409, operation=operation)
    return create_apply(actor, operation.model_name, rows, follows=operation)


def request_roll_back(actor: Actor, operation: Operation) -> Operation:
    """Undo what an apply has done, the last first: loaded models go, unloaded ones return with the options they had."""
    steps = _steps_to_follow(operation)
    done = [step for step in reversed(steps) if _is_done(step)]
    if not done:
        message = f"Operation {operation.pk} has changed nothing; there is nothing to roll back."
        raise RequestRefused("nothing_to_roll_back", message, status=409, operation=operation)
    befores = _befores(steps)
    places = {step.position: place for place, step in enumerate(done)}
    rows = [
        _inverse(step, [places[later.position] for later in done if step.position in befores[later.position]])
        for step in done
    ]
    return create_apply(actor, f"{operation.model_name}, rolled back"[:255], rows, follows=operation, rolls_back=True)


def _steps_to_follow(operation: Operation) -> list[ApplyStep]:
    """The steps of an apply that has ended and that no other apply follows yet."""
    if operation.kind != Kind.APPLY or operation.is_active:
        message = f"Operation {operation.pk} is no apply that has ended."
        raise RequestRefused("not_ended", message, status=409, operation=operation)
    if follower := operation.followers.order_by("pk").last():
        message = f"Operation {follower.pk} has taken over from operation {operation.pk}; resume or roll back that one."
        raise RequestRefused("already_followed", message, status=409, operation=follower)
    return list(operation.apply_steps.select_related("endpoint"))


def _again(step: ApplyStep) -> ApplyStep:
    kept = ApplyStep(
        kind=step.kind,
        endpoint=step.endpoint,
        model_name=step.model_name,
        options=step.options,
        gpus=step.gpus,
        after=step.after,
    )
    if step.state not in ApplyStep.SETTLED or not _stands(step):
        return kept
    kept.state, kept.part, kept.detail = State(step.state), step.part, step.detail
    kept.verified_by, kept.moved_bytes, kept.seconds = step.verified_by, step.moved_bytes, step.seconds
    return kept


def _stands(step: ApplyStep) -> bool:
    """Whether what the step did is still so, unless a later step has settled otherwise: a restarted server has lost it."""
    later = ApplyStep.objects.filter(operation=step.operation, endpoint=step.endpoint, model_name=step.model_name)
    if later.filter(position__gt=step.position, state__in=ApplyStep.SETTLED).exists():
        return True
    return _is_loaded(step) == (step.kind == Kind.LOAD)


def _is_loaded(step: ApplyStep) -> bool:
    return LoadedModel.objects.filter(endpoint=step.endpoint, name=step.model_name).exists()


def _is_done(step: ApplyStep) -> bool:
    """Whether the step has changed something; an unload may have, though its measurement failed."""
    has_left = step.kind == Kind.UNLOAD and step.state == State.FAILED and not _is_loaded(step)
    return step.state == State.DONE or has_left


def _befores(steps: Sequence[ApplyStep]) -> dict[int, set[int]]:
    """By position, the positions of all steps that had to be done before."""
    befores: dict[int, set[int]] = {}
    for step in steps:
        befores[step.position] = set(step.after).union(*(befores.get(before, set()) for before in step.after))
    return befores


def _inverse(step: ApplyStep, after: list[int]) -> ApplyStep:
    was_load = step.kind == Kind.LOAD
    return ApplyStep(
        kind=Kind.UNLOAD if was_load else Kind.LOAD,
        endpoint=step.endpoint,
        model_name=step.model_name,
        options={} if was_load else stored_options(step.options).given(),
        gpus=step.gpus,
        after=sorted(after),
    )
