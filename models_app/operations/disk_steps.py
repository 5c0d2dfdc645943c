"""The effects on an endpoint's disk: a download and a deletion, each proved by what is installed afterwards."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from django.conf import settings

from models_app.backends.errors import NotFound
from models_app.backends.protocol import Progress
from models_app.inventory.refresh import refresh_installed
from models_app.operations import records
from models_app.operations.job import Job
from models_app.operations.models import OperationStep
from models_app.operations.outcomes import Failure, Outcome


async def pull(job: Job, step: OperationStep) -> Outcome:
    """Download a model. Raises ``Failure`` and ``BackendError``."""
    await begin_without_memory(job, step, f"Downloading {step.model_name}.")
    try:
        async with asyncio.timeout(settings.PULL_TIMEOUT_SECONDS), aclosing(job.backend.pull(step.model_name)) as news:
            async for progress in news:
                _report_pull(job, progress)
    except TimeoutError as error:
        message = f"The download took longer than {settings.PULL_TIMEOUT_SECONDS:g} seconds."
        raise Failure("pull_timed_out", message) from error
    if not await _is_installed(job, step.model_name):
        raise Failure("not_installed", f"The download ended, but {job.endpoint.name} does not list {step.model_name}.")
    return Outcome("endpoint")


def _report_pull(job: Job, progress: Progress) -> None:
    done, total = progress.completed_bytes, progress.total_bytes
    job.progress(phase=progress.status[:60], progress_bytes=done, progress_total_bytes=total)


async def delete(job: Job, step: OperationStep) -> Outcome:
    """Remove a model's files; one that has gone already is no error. Raises ``Failure`` and ``BackendError``."""
    await begin_without_memory(job, step, f"Deleting {step.model_name}.")
    try:
        await job.backend.delete(step.model_name)
    except NotFound:
        job.say(f"{step.model_name} had been deleted already.")
    if await _is_installed(job, step.model_name):
        raise Failure("not_deleted", f"{job.endpoint.name} still lists {step.model_name}.")
    return Outcome("endpoint")


async def _is_installed(job: Job, name: str) -> bool:
    installed = await job.backend.installed()
    await refresh_installed(job.endpoint, job.backend)
    return any(model.name == name for model in installed)


async def begin_without_memory(job: Job, step: OperationStep, phrase: str) -> None:
    """Write that a step begins that is not measured by memory."""
    job.say(phrase)
    await job.write(records.start_step, step, {})
