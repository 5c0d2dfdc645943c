"""Putting things back after a failure or a cancellation, and ending the operation with what could be put back."""

from __future__ import annotations

import asyncio
from typing import Any

from models_app.backends.errors import BackendError
from models_app.backends.protocol import Observation
from models_app.inventory.observe import record_observation
from models_app.operations import records
from models_app.operations.intentions import remember_load
from models_app.operations.job import Job
from models_app.operations.models import Operation, OperationStep
from models_app.operations.outcomes import Failure, LeaseLost, Outcome
from models_app.operations.plan import plan_undo
from models_app.operations.reservations import used_by_gpu
from models_app.operations.states import State
from models_app.operations.steps import perform
from models_app.operations.verify import Reading

Action = OperationStep.Action
StepState = OperationStep.State
UNDO = (Action.CLEAN_UP, Action.RESTORE)
CANCELLED = "cancelled"
PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""Between the attempts at one step while the endpoint does not answer."""


async def undo(job: Job, failure: Failure | None) -> None:
    """Put back what was done, then end the operation. ``None`` goes on where an earlier runner stopped."""
    if failure is not None:
        job.say(failure.message)
        reading = await _reading(job)
        if not job.steps:  # as when it was cut off while they were written
            job.steps = await job.database(records.steps_of, job.operation)
        job.steps += await job.write(_begin_undo, job.operation, job.steps, failure, reading)
    for step in job.steps:
        if step.action in UNDO and step.state in (StepState.PENDING, StepState.RUNNING):
            await _put_back(job, step)
    await _end(job)


async def _reading(job: Job) -> Reading | None:
    """What is in memory now; ``None`` where the endpoint does not answer."""
    try:
        return await job.read(job.operation.model_name)
    except BackendError:
        return None


def _begin_undo(
    operation: Operation, steps: list[OperationStep], failure: Failure, reading: Reading | None
) -> list[OperationStep]:
    """The reason goes onto the row first: whoever continues knows that the way is back."""
    operation.error_code, operation.error_message = failure.code, failure.message
    operation.phase = "putting things back"
    operation.save(update_fields=["error_code", "error_message", "phase"])
    observation = reading.observation if reading else None
    if reading is not None:
        record_observation(operation.site, reading.observation, reading.observed_at)
    undo_steps = plan_undo(operation, steps, observation, keep_loaded=failure.is_verdict)
    for step in steps:
        if step.state == StepState.RUNNING:
            _settle_failed(operation, step, failure, observation, is_kept=not undo_steps)
    return records.add_steps(operation, undo_steps, len(steps))


def _settle_failed(
    operation: Operation, step: OperationStep, failure: Failure, observation: Observation | None, *, is_kept: bool
) -> None:
    """A model that stays loaded, though not as measured, is still one that Berth loaded."""
    records.fail_step(step, failure.message)
    if step.action == Action.LOAD and is_kept and observation and observation.find(step.model_name):
        remember_load(operation, step, {}, "")


async def _put_back(job: Job, step: OperationStep) -> None:
    """One step back. What cannot be put back is said, and the next step is tried all the same."""
    try:
        outcome = await _perform_patiently(job, step)
    except Failure as failure:
        if step.action != Action.RESTORE or not failure.is_verdict:
            await _give_up(job, step, failure)
            return
        outcome = Outcome(notes=(failure.message,))
    except BackendError as error:
        await _give_up(job, step, Failure.of(error))
        return
    job.settle(step, outcome)


async def _perform_patiently(job: Job, step: OperationStep) -> Outcome:
    for pause in PAUSES_SECONDS:
        try:
            return await perform(job, step)
        except BackendError as error:
            if not error.retryable:
                raise
            job.say(f"{error.message} Trying again in {pause:g} s.")
            await asyncio.sleep(pause)
    return await perform(job, step)


async def _give_up(job: Job, step: OperationStep, failure: Failure) -> None:
    job.say(f"{step.get_action_display()} {step.model_name}: {failure.message}")
    await job.write(records.fail_step, step, failure.message)


async def _end(job: Job) -> None:
    operation = job.operation
    state = State.CANCELLED if operation.error_code == CANCELLED else State.FAILED
    used = used_by_gpu(await job.sample())
    columns: dict[str, Any] = {
        "phase": state.value,
        "after_bytes": sum(used.values()) if used else None,
        "result": _result(job),
    }
    if not await job.database(records.finish, operation, job.lease, state, job.taken_news(), columns):
        raise LeaseLost


def _result(job: Job) -> dict[str, Any]:
    """What was put back and what was not."""
    restores = [step for step in job.steps if step.action == Action.RESTORE]
    back = [step.model_name for step in restores if step.state != StepState.FAILED]
    lost = [step.model_name for step in restores if step.state == StepState.FAILED]
    result: dict[str, Any] = {"seconds": job.seconds}
    if back:
        result["restored"] = back
    if lost:
        result["not_restored"] = lost
    return result
