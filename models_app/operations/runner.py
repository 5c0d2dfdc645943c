"""Works one operation off: lease, plan, admission, steps, and on failure or cancellation the steps that put things back.

Everything that must survive this process is in rows before it happens, so that another runner can go on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import F
from django.utils import timezone

from models_app.backends.errors import BackendError
from models_app.inventory.connect import backend_for
from models_app.operations import records
from models_app.operations.admission import admit
from models_app.operations.database import Database
from models_app.operations.expected import Expected
from models_app.operations.handover import take_over
from models_app.operations.job import Job
from models_app.operations.models import Operation, OperationStep
from models_app.operations.outcomes import Cancelled, Failure, LeaseLost, Outcome, Outdated, Waiting
from models_app.operations.plan import plan
from models_app.operations.states import State
from models_app.operations.steps import begin_planned, perform
from models_app.operations.undo import undo
from models_app.operations.urgency import Urgency
from models_app.operations.verify import Reading
from models_app.operations.watch import watched

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
MAX_READINGS = 5
WAIT = timedelta(seconds=1)
BACK_OFF_SECONDS = 2
OPEN = (OperationStep.State.PENDING, OperationStep.State.RUNNING)


async def run(operation_id: int) -> bool:
    """Work on an operation until it has ended, waits, or belongs to another runner; whether there was one to work on."""
    handed = take_over(operation_id)
    urgency = handed.urgency if handed else Urgency()
    try:
        async with Database() as database:
            taken = await database(records.take, operation_id, handed.operation if handed else None)
            if taken is None:
                return False
            operation, lease, steps = taken
            try:
                opened = await database(backend_for, operation.site)
            except BackendError as error:
                await database(_give_up, operation, lease, Failure.of(error))
                return True
            async with aclosing(opened) as backend:
                await _conduct(Job(operation, lease, steps, database, backend, urgency, handed))
    except LeaseLost:
        log.warning("operation %s was taken over by another worker", operation_id)
    finally:
        urgency.end()
    return True


def _give_up(operation: Operation, lease: records.Lease, failure: Failure) -> None:
    """End what no call can be made for, as where the settings no longer allow the address: nothing can be put back."""
    columns = {"phase": "failed", "error_code": failure.code, "error_message": failure.message}
    records.finish(operation, lease, State.FAILED, records.News(lines=[records.Line(failure.message)]), columns)


async def _conduct(job: Job) -> None:
    """Forward, and where that fails, back."""
    failure: Failure | None = None
    if not job.operation.error_code:
        try:
            return await watched(job, _forward(job))
        except Waiting as waiting:
            return await _wait(job, waiting)
        except Cancelled:
            failure = Failure("cancelled", "Cancelled.")
        except BackendError as error:
            failure = Failure.of(error)
        except Failure as verdict:
            failure = verdict
        if _may_retry(job, failure):
            return await _retry(job, failure)
    await watched(job, undo(job, failure), heed_cancel=False)
    return None


async def _forward(job: Job) -> None:
    await _prepare(job)
    outcomes = []
    for step in job.steps:
        if step.state in OPEN:
            outcome = await perform(job, step)
            job.settle(step, outcome)
            job.fresh = _reading_for_next(step, outcome, job.steps)
            outcomes.append(outcome)
    await _succeed(job, outcomes)


def _reading_for_next(step: OperationStep, outcome: Outcome, steps: Sequence[OperationStep]) -> tuple[str, Reading] | None:
    """What proved an unload is what the load that follows begins from."""
    following = next((one for one in steps if one.position == step.position + 1), None)
    if following is None or following.action != OperationStep.Action.LOAD or outcome.sample is None:
        return None
    if outcome.observation is None or outcome.observed_at is None:
        return None
    return following.model_name, Reading(outcome.observation, outcome.observed_at, outcome.sample)


async def _prepare(job: Job) -> None:
    """Steps that an earlier runner wrote stand; those of a retry are admitted anew."""
    name = next(iter(job.operation.unload), job.operation.model_name)
    for _ in range(MAX_READINGS):
        reading, job.expected = await job.look(name)
        unit = partial(_plan_and_admit, job.operation, job.steps, reading, job.expected)
        try:
            job.steps, job.begun = await job.write_with(_columns(job.steps, reading), unit)
        except Outdated:
            continue
        job.fresh = name, reading
        return
    raise Failure("memory_unsettled", "Other operations kept ending while the memory was being read.", retryable=True)


def _columns(steps: Sequence[OperationStep], reading: Reading) -> dict[str, Any]:
    used = reading.used
    return {"phase": "running"} | ({} if steps else {"before_bytes": sum(used.values()) if used else None})


def _plan_and_admit(
    operation: Operation, steps: list[OperationStep], reading: Reading, load: Expected | None
) -> tuple[list[OperationStep], OperationStep | None]:
    """The steps, and the first one where it has begun with that."""
    planned = steps or plan(operation, reading.observation)
    admit(operation, planned, reading.sample, reading.observation, load)
    begun = planned[0] if begin_planned(operation, planned[0], reading) else None
    return steps or records.add_steps(operation, planned, 0), begun


async def _succeed(job: Job, outcomes: list[Outcome]) -> None:
    last = next((outcome for outcome in reversed(outcomes) if not outcome.skipped), None)
    used = last.used if last else {}
    columns: dict[str, Any] = {
        "phase": "done",
        "verified_by": last.verified_by if last else "endpoint",
        "after_bytes": sum(used.values()) if used else None,
        "result": _result(job, outcomes),
    }
    if not await job.database(records.finish, job.operation, job.lease, State.SUCCEEDED, job.taken_news(), columns):
        raise LeaseLost


def _result(job: Job, outcomes: list[Outcome]) -> dict[str, Any]:
    """What people and scripts read of a success: seconds, bytes moved, tokens a second, and notes."""
    result: dict[str, Any] = {"seconds": job.seconds}
    moved = [outcome.moved_bytes for outcome in outcomes if outcome.moved_bytes is not None]
    if moved:
        result["moved_bytes"] = moved[-1]
    speeds = [outcome.tokens_per_second for outcome in outcomes if outcome.tokens_per_second is not None]
    if speeds:
        result["tokens_per_second"] = round(speeds[-1], 2)
    notes = [note for outcome in outcomes for note in (outcome.skipped, *outcome.notes) if note]
    if notes:
        result["notes"] = notes
    return result


async def _wait(job: Job, waiting: Waiting) -> None:
    """Waiting is no attempt, and is told once."""
    if job.operation.phase != str(waiting):
        job.say(f"{str(waiting).capitalize()}.")
    columns = {"phase": str(waiting), "waiting_for_id": waiting.operation_id, "attempt": F("attempt") - 1}
    await job.database(records.put_back, job.lease, timezone.now() + WAIT, job.taken_news(), columns)


def _may_retry(job: Job, failure: Failure) -> bool:
    """Only what may work later, not for ever, and while nothing has been changed."""
    is_untouched = all(step.state in OPEN for step in job.steps)
    return failure.retryable and is_untouched and job.operation.attempt < MAX_ATTEMPTS


async def _retry(job: Job, failure: Failure) -> None:
    pause_seconds = BACK_OFF_SECONDS**job.operation.attempt
    job.say(f"{failure.message} Trying again in {pause_seconds} s.")
    due_at = timezone.now() + timedelta(seconds=pause_seconds)
    columns = {"phase": "waiting to try again"}
    await job.database(records.put_back, job.lease, due_at, job.taken_news(), columns)
