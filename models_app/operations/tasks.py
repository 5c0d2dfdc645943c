"""The two Celery tasks. A message is only a nudge: losing it, or getting it twice, changes nothing."""

from __future__ import annotations

import asyncio

from celery import shared_task

from models_app.operations import heartbeats, nudge
from models_app.operations.advance import advance, advance_for
from models_app.operations.runner import run


@shared_task(name=nudge.RUN_OPERATION)
def run_operation(operation_id: int) -> None:
    """Work on one operation, if it is due and nobody else does; then the apply goes on that it is or belongs to."""
    if not asyncio.run(run(operation_id)):
        advance(operation_id)  # an apply, which no runner takes
    advance_for(operation_id)


@shared_task(name=nudge.BEAT)
def beat() -> None:
    """Note that a worker took a message: the sign of life that readiness asks for."""
    heartbeats.beat(heartbeats.WORKER)
