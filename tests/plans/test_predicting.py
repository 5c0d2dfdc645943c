"""What usually follows is loaded ahead of time, only where it is wanted and only into free memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from models_app.operations.models import Operation
from models_app.plans.models import Demand
from models_app.plans.predicting import likely_next, preload
from models_app.plans.wakes import Wake
from tests.operations.conftest import EMBEDDING, SMALL
from tests.plans.conftest import Planner


@pytest.fixture
def asked(planner: Planner) -> Planner:
    """Search has followed chat three times, and chat was asked for again just now."""
    planner.demand("chat", SMALL)
    planner.demand("search", EMBEDDING, context_length=2048)
    planner.applied(planner.solved())
    planner.stage.done("unload", EMBEDDING, confirmed=True)
    planner.look()
    for minutes, name in enumerate(["chat", "search"] * 3 + ["chat"], -6):
        row = Wake.objects.create(demand=Demand.objects.get(name=name), requested_by="ada")
        Wake.objects.filter(pk=row.pk).update(at=timezone.now() + timedelta(minutes=minutes))
    return planner


def test_the_usual_successor_is_loaded(asked: Planner, settings: Any) -> None:
    settings.PREDICT = True
    preload()
    operation = Operation.objects.latest("pk")
    assert (operation.kind, operation.model_name, operation.requested_by) == ("load", EMBEDDING, "prediction")
    assert Wake.objects.count() == 7, "a prediction is no request to learn from"


def test_what_was_predicted_and_then_unloaded_is_left_alone_until_the_next_request(asked: Planner, settings: Any) -> None:
    settings.PREDICT = True
    preload()
    asked.stage.work(Operation.objects.latest("pk"))
    asked.stage.done("unload", EMBEDDING, confirmed=True)
    asked.look()
    before = Operation.objects.count()
    preload()
    assert Operation.objects.count() == before


def test_it_is_off_by_default(asked: Planner) -> None:
    before = Operation.objects.count()
    preload()
    assert Operation.objects.count() == before


def test_long_after_the_last_request_nothing_is_expected(asked: Planner) -> None:
    assert likely_next() is not None
    Wake.objects.update(at=timezone.now() - timedelta(hours=2))
    assert likely_next() is None
