"""The Celery task that solves. A message is only a nudge: one that is lost is sent again by ``tell_again``."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from models_app.plans.models import Plan
from models_app.plans.solving import solve_plan

log = logging.getLogger(__name__)
LOST_AFTER = timedelta(seconds=90)
"""Longer than any solve takes."""


@shared_task(name="berth.solve_plan")
def solve_plan_task(plan_id: int) -> None:
    """Solve one plan, if it still waits for it."""
    solve_plan(plan_id)


def enqueue(plan_id: int) -> None:
    """Tell a worker. A queue that cannot be reached is no error: it is told again."""
    try:
        solve_plan_task.apply_async((plan_id,), retry=False)
    except (OperationalError, OSError) as error:
        log.warning("The queue cannot be reached, plan %d waits: %s", plan_id, error)


def tell_again() -> None:
    """Tell a worker of plans that have waited too long: its message or its worker was lost."""
    waiting = Plan.objects.filter(state=Plan.State.SOLVING, created_at__lt=timezone.now() - LOST_AFTER)
    for plan_id in waiting.values_list("pk", flat=True)[:10]:
        enqueue(plan_id)
