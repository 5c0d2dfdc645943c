"""Loads ahead of time what is likely to be asked for next, where ``BERTH_PREDICT`` wants it and nothing has to make way."""

from __future__ import annotations

import logging

from django.conf import settings
from django.utils import timezone

from models_app.accounts.roles import Actor, Via
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans.applying import active_plan
from models_app.plans.models import Demand
from models_app.plans.records import instances
from models_app.plans.wakes import Wake
from models_app.plans.waking import wake
from models_app.solver.prediction import Prediction, Predictor

log = logging.getLogger(__name__)
WAKES_READ = 2000
FRESH_SECONDS = 1800.0
"""What follows a request is expected soon after it, if at all."""


def preload() -> None:
    """Load what is predicted, if it is not loaded and fits beside what is."""
    predicted = likely_next() if settings.PREDICT else None
    demand = Demand.objects.filter(name=predicted.model).first() if predicted else None
    if demand is None or _was_seen_to(demand):
        return
    try:
        wake(Actor(None, "prediction", Via.PANEL), demand, may_evict=False, is_request=False)
    except RequestRefused as refused:
        log.debug("%s is likely next, and is not loaded: %s", demand, refused.message)


def _was_seen_to(demand: Demand) -> bool:
    """Whether its model was loaded or unloaded since the last request: a load is tried once, and an unload stands."""
    plan = active_plan()
    models = {each.model for each in instances(plan.instances) if each.demand == demand.name} if plan else set()
    asked_at = Wake.objects.latest("pk").at
    return Operation.objects.filter(created_at__gt=asked_at, model_name__in=models).exists()


def likely_next() -> Prediction | None:
    """The demand that most often followed the one asked for last; ``None`` without ground or long after that request."""
    rows = list(Wake.objects.order_by("-pk").values_list("demand__name", "at")[:WAKES_READ])
    now = timezone.now()
    if not rows or (now - rows[0][1]).total_seconds() > FRESH_SECONDS:
        return None
    predictor = Predictor()
    for name, at in reversed(rows):
        predictor.observe(name, at.timestamp())
    return predictor.next(now.timestamp())
