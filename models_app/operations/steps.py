"""The outside effects, one function each: observe, write that it begins, act, and measure what came of it.

A step that an earlier runner began is never blindly begun again: what the endpoint lists tells whether it happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from django.conf import settings
from django.utils import timezone

from models_app.backends.base import in_background
from models_app.backends.errors import TimedOut
from models_app.backends.protocol import ModelState, Progress, ResidentModel
from models_app.operations import records
from models_app.operations.confirm import confirm_load, confirm_unload
from models_app.operations.disk_steps import begin_without_memory, delete, pull
from models_app.operations.job import Job
from models_app.operations.learning import Lesson, learn, lesson_of
from models_app.operations.matching import differing_options
from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.outcomes import Failure, Outcome
from models_app.operations.speeds import MOST_SECONDS, TOKENS, record_speed
from models_app.operations.urgency import ORDER_SECONDS
from models_app.operations.verify import Reading
from models_app.probes.types import HostSample

Action = OperationStep.Action
LEAST_TOKENS = 8
IN_MEMORY = (ModelState.LOADED, ModelState.SLEEPING)


def begin_planned(operation: Operation, step: OperationStep, reading: Reading) -> bool:
    """Begin a first step in the transaction that plans it, unless ``reading`` says that there is nothing to do."""
    resident = reading.observation.find(step.model_name)
    is_needed = {
        Action.LOAD: resident is None or resident.state not in IN_MEMORY,
        Action.UNLOAD: resident is not None,
    }
    if step.state != OperationStep.State.PENDING or not is_needed.get(Action(step.action), False):
        return False
    records.start_step(step, reading.used)
    OperationLog.objects.create(operation=operation, text=_phrase(step))
    return True


def _phrase(step: OperationStep) -> str:
    is_load = step.action in (Action.LOAD, Action.RESTORE)
    return f"{'Loading' if is_load else 'Unloading'} {step.model_name}."


async def perform(job: Job, step: OperationStep) -> Outcome:
    """Do one step. Raises ``Failure``, ``BackendError`` or ``LeaseLost``."""
    return await _PERFORMERS[step.action](job, step)


async def _load(job: Job, step: OperationStep) -> Outcome:
    reading = await job.read_before(step.model_name)
    resident = reading.observation.find(step.model_name)
    was_begun = step.state == OperationStep.State.RUNNING and step is not job.begun
    if resident is not None and resident.state in IN_MEMORY and not was_begun:
        return _found(step, resident, reading)
    if step.state != OperationStep.State.RUNNING:
        await _begin(job, step, reading, _phrase(step))
    before = None if was_begun else reading.sample
    job.urgency.end_with_order()
    async with in_background(_lesson(job, step, before)) as lesson:
        if was_begun and resident is not None and resident.state in IN_MEMORY:
            job.say(f"{step.model_name} is loaded: an earlier worker had begun it.")
        else:
            await _call_load(job, step)
        outcome = await confirm_load(job, step, reading.observation)
        job.later(learn, await lesson, job.operation, step, outcome)
    return outcome


async def _lesson(job: Job, step: OperationStep, before: HostSample | None) -> Lesson | None:
    await asyncio.sleep(ORDER_SECONDS)  # once the order to load has gone out
    return await job.database(lesson_of, job.operation, step, before, job.expected)


def _found(step: OperationStep, resident: ResidentModel, reading: Reading) -> Outcome:
    """The model is in memory, though Berth has not put it there: another client was faster."""
    differing = differing_options(stored_options(step.options), resident, None)
    if differing and step.action == Action.LOAD:
        message = f"Another client has loaded {resident.name} with another {' and '.join(differing)}."
        raise Failure("loaded_with_other_options", message)
    skipped = f"{resident.name} was loaded already by another client."
    return Outcome("endpoint", used=reading.used, observation=reading.observation, skipped=skipped)


async def _call_load(job: Job, step: OperationStep) -> None:
    options = stored_options(step.options)
    try:
        async with asyncio.timeout(settings.LOAD_TIMEOUT_SECONDS), in_background(job.follow_rise(step.baseline)):
            await _exhaust(job, job.backend.load(step.model_name, options))
    except (TimeoutError, TimedOut) as error:
        message = f"{step.model_name} was not loaded within {settings.LOAD_TIMEOUT_SECONDS:g} seconds."
        raise Failure("load_timed_out", message) from error


async def _exhaust(job: Job, steps: AsyncGenerator[Progress, None]) -> None:
    """Follow a long call to its end; closing the generator, however this ends, aborts what is not finished."""
    async with aclosing(steps):
        async for progress in steps:
            job.say_for_server(progress.lines)
            if progress.fraction is not None:
                job.progress(phase=f"{progress.status} {progress.fraction:.0%}"[:60])


async def _unload(job: Job, step: OperationStep) -> Outcome:
    reading = await job.read_before(step.model_name)
    was_begun = step.state == OperationStep.State.RUNNING and step is not job.begun
    if reading.observation.find(step.model_name) is None and not was_begun:
        gone = f"{step.model_name} had left already."
        return Outcome("endpoint", used=reading.used, observation=reading.observation, skipped=gone)
    if step.state != OperationStep.State.RUNNING:
        await _begin(job, step, reading, _phrase(step))
    if reading.observation.find(step.model_name) is not None:
        job.urgency.end_with_order()
        await job.backend.unload(step.model_name)
    return await confirm_unload(job, step, None if was_begun else reading)


async def _keep_alive(job: Job, step: OperationStep) -> Outcome:
    observation = await job.backend.observe()
    if observation.find(step.model_name) is None:
        raise Failure("not_loaded", f"{step.model_name} is no longer loaded.")
    await begin_without_memory(job, step, f"Changing how long {step.model_name} stays.")
    options = stored_options(step.options)
    await job.backend.set_keep_alive(step.model_name, options.keep_alive_seconds or 0, options)
    observed_at = timezone.now()
    return Outcome("endpoint", observation=await job.backend.observe(), observed_at=observed_at)


async def _measure(job: Job, step: OperationStep) -> Outcome:
    """Have the model write a little. Closing the connection, as a cancellation does, ends that at once."""
    resident = (await job.backend.observe()).find(step.model_name)
    if resident is None or resident.state is not ModelState.LOADED:
        raise Failure("not_loaded", f"{step.model_name} is not in memory now.")
    await begin_without_memory(job, step, f"Having {step.model_name} write {TOKENS} tokens.")
    try:
        async with asyncio.timeout(MOST_SECONDS):
            wrote = await job.backend.generate(step.model_name, TOKENS, stored_options(step.options))
    except (TimeoutError, TimedOut) as error:
        message = f"{step.model_name} did not write {TOKENS} tokens within {MOST_SECONDS} seconds."
        raise Failure("measure_timed_out", message) from error
    if wrote.token_count < LEAST_TOKENS:
        message = f"{step.model_name} stopped after {wrote.token_count} tokens, too few to tell its speed."
        raise Failure("too_few_tokens", message)
    job.later(record_speed, job.operation, step, resident, wrote)
    job.say(f"{step.model_name} writes {wrote.tokens_per_second:.1f} tokens/s, measured over {wrote.token_count} tokens.")
    return Outcome("endpoint", tokens_per_second=wrote.tokens_per_second)


async def _begin(job: Job, step: OperationStep, reading: Reading, phrase: str) -> None:
    job.say(phrase)
    await job.write(records.start_step, step, reading.used)


_PERFORMERS: dict[str, Callable[[Job, OperationStep], Awaitable[Outcome]]] = {
    Action.LOAD: _load,
    Action.RESTORE: _load,
    Action.UNLOAD: _unload,
    Action.CLEAN_UP: _unload,
    Action.PULL: pull,
    Action.DELETE: delete,
    Action.KEEP_ALIVE: _keep_alive,
    Action.MEASURE: _measure,
}
