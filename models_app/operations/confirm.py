"""Waiting for the measurement that confirms a load or an unload, as briefly as the memory allows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from django.conf import settings

from models_app.backends.base import in_background
from models_app.backends.protocol import ModelState, Observation
from models_app.inventory.models import LoadedModel
from models_app.operations.devices import uses_gpus
from models_app.operations.job import Job
from models_app.operations.models import Operation, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.outcomes import Failure, Outcome
from models_app.operations.verify import Judgement, Reading, judge_load, judge_unload
from models_app.operations.wording import gib
from models_app.probes.exits import wait_for_exit

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.25
MOST_EXIT_SECONDS = 0.5
"""The memory is looked at when the model's processes have ended; where they take longer, again and again."""
REPEAT_AFTER_SECONDS = 1.0
"""A model still listed as loaded this long after its unload was accepted has been loaded again."""
MAX_UNLOADS = 3
SETTLE_SECONDS = 0.25
"""A mere unload is looked at once more after this: another client may load the model again at once."""


async def confirm_load(job: Job, step: OperationStep, before: Observation) -> Outcome:
    """Measure until the load is confirmed. ``before`` is what was in memory. Raises ``Failure`` with the figures."""
    job.urgency.begin(job.endpoint)
    if settings.SKIP_VERIFICATION:
        return await _unverified(job, step)
    async with in_background(job.database(uses_gpus, job.endpoint, stored_options(step.options))) as on_gpu:
        return await _in_memory(job, step, before, on_gpu)


async def _in_memory(job: Job, step: OperationStep, before: Observation, on_gpu: asyncio.Task[bool]) -> Outcome:
    deadline = _deadline()
    for pause in _pauses():
        reading = await job.read(step.model_name)
        evicted = _evicted(before, reading.observation, step.model_name)
        evicted_bytes = await job.database(_bytes_of_rows, job.endpoint.pk, evicted) if evicted else 0
        judgement = judge_load(
            reading, step.model_name, step.baseline, step.expected_bytes, on_gpu=await on_gpu, evicted_bytes=evicted_bytes
        )
        if judgement.verified_by:
            return _confirmed(job, judgement, reading, f"{step.model_name} is loaded", evicted)
        if judgement.is_final or _is_over(deadline):
            raise Failure(judgement.code, judgement.sentence, is_verdict=True)
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")


async def confirm_unload(job: Job, step: OperationStep, before: Reading | None) -> Outcome:
    """Measure until the unload is confirmed; one that another client undoes is repeated. Raises ``Failure``.

    ``before`` is the reading before it began, ``None`` where an earlier runner began it.
    """
    job.urgency.begin(job.endpoint)
    if settings.SKIP_VERIFICATION:
        return await _unverified(job, step)
    for _ in range(MAX_UNLOADS - 1):
        outcome = await _gone_or_back(job, step, before)
        if outcome is not None:
            return outcome
        job.say(f"{step.model_name} is loaded again; unloading it once more.")
        await job.backend.unload(step.model_name)
    outcome = await _gone_or_back(job, step, before)
    if outcome is None:
        why = "another client loads it again each time, or the endpoint ignores unloads"
        message = f"{step.model_name} is still listed as loaded after {MAX_UNLOADS} unloads: {why}."
        raise Failure("reloaded_by_another_client", message, is_verdict=True)
    return outcome


async def _gone_or_back(job: Job, step: OperationStep, before: Reading | None) -> Outcome | None:
    """The outcome once the model has left and stays away; ``None`` once it is back. Raises ``Failure``."""
    asked_at, deadline, has_left = _now(), _deadline(), False
    must_settle = job.operation.kind == Operation.Kind.UNLOAD
    if before is not None and before.pids:
        await wait_for_exit(before.pids, MOST_EXIT_SECONDS)
    for pause in _pauses():
        reading = await job.read(step.model_name)
        judgement = judge_unload(
            reading,
            step.model_name,
            step.baseline,
            before.process_bytes if before else None,
            step.expected_bytes,
            before.ram_bytes if before else None,
        )
        if judgement.verified_by and not must_settle:
            return _confirmed(job, judgement, reading, f"{step.model_name} is unloaded", [])
        resident = reading.observation.find(step.model_name)
        is_back = resident is not None and resident.state is not ModelState.STOPPING
        if is_back and (has_left or _now() - asked_at >= REPEAT_AFTER_SECONDS or _is_over(deadline)):
            return None
        if _is_over(deadline) and not judgement.verified_by:
            raise Failure(judgement.code, judgement.sentence, is_verdict=True)
        has_left, must_settle = not is_back, must_settle and not judgement.verified_by
        await asyncio.sleep(SETTLE_SECONDS if judgement.verified_by else pause)
    raise AssertionError("pauses never end")


def _confirmed(job: Job, judgement: Judgement, reading: Reading, what: str, evicted: list[str]) -> Outcome:
    moved = "" if judgement.moved_bytes is None else f", {gib(judgement.moved_bytes)} of {judgement.memory} moved"
    job.say(f"{what}{moved} (verified by {judgement.verified_by}).")
    notes = [*judgement.notes, *(f"The endpoint has evicted {name} to make room." for name in evicted)]
    return Outcome(
        judgement.verified_by,
        used=reading.used,
        gpu_bytes=judgement.gpu_bytes,
        moved_bytes=judgement.moved_bytes,
        observation=reading.observation,
        observed_at=reading.observed_at,
        sample=reading.sample,
        notes=tuple(notes),
    )


async def _unverified(job: Job, step: OperationStep) -> Outcome:
    job.say(f"{step.model_name}: the endpoint's word was taken, verification is switched off.")
    reading = await job.read(step.model_name)
    return Outcome(
        "",
        used=reading.used,
        observation=reading.observation,
        observed_at=reading.observed_at,
        notes=("Verification is switched off: nothing was measured.",),
    )


def _evicted(before: Observation, now: Observation, loading: str) -> list[str]:
    """The models that have left since; another operation may have unloaded them, or the endpoint made room."""
    left = {model.name for model in before.resident} - {model.name for model in now.resident}
    return sorted(left - {loading})


def _bytes_of_rows(endpoint_id: int, names: list[str]) -> int:
    rows = LoadedModel.objects.filter(endpoint_id=endpoint_id, name__in=names)
    return sum(sum(row.gpu_bytes.values()) if row.gpu_bytes else row.vram_bytes or 0 for row in rows)


def _pauses() -> Iterator[float]:
    """Short at first, for memory usually shows at once."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _deadline() -> float:
    return _now() + settings.VERIFY_TIMEOUT_SECONDS


def _is_over(deadline: float) -> bool:
    return _now() >= deadline
