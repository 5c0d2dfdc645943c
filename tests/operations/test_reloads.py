"""How long a model should stay: from what was told or loaded, with the cost of having it back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.inventory.models import Endpoint
from models_app.operations.models import OperationStep
from models_app.operations.reloads import keep_alive_of, reload_of
from tests.factories import EndpointFactory, OperationFactory

pytestmark = pytest.mark.django_db
MODEL = "llama3.1:8b"


def loaded(endpoint: Endpoint, seconds: float, *, days_ago: float = 0.0, state: str = "done") -> None:
    began = timezone.now() - timedelta(days=days_ago)
    OperationStep.objects.create(
        operation=OperationFactory(endpoint=endpoint, model_name=MODEL),
        position=0,
        action=OperationStep.Action.LOAD,
        model_name=MODEL,
        state=state,
        started_at=began,
        finished_at=began + timedelta(seconds=seconds),
    )


def test_the_middle_of_the_latest_loads_is_what_a_load_takes() -> None:
    endpoint = EndpointFactory()
    for seconds in (90, 4, 5, 6, 7, 30):
        loaded(endpoint, seconds)
    found = reload_of(endpoint, MODEL, 10**9)
    assert (found.seconds, found.is_measured) == (pytest.approx(6), True)


def test_before_any_load_the_size_of_the_files_says_it_roughly() -> None:
    found = reload_of(EndpointFactory(), MODEL, 5 * 10**9)
    assert (found.seconds, found.is_measured) == (2.5, False)
    assert reload_of(EndpointFactory(), MODEL, 0).seconds is None


def test_loads_that_failed_or_were_on_another_endpoint_say_nothing() -> None:
    endpoint = EndpointFactory()
    loaded(endpoint, 5, state="failed")
    loaded(EndpointFactory(), 5)
    assert not reload_of(endpoint, MODEL, 0).is_measured
    assert keep_alive_of(endpoint, MODEL, 0) is None


def test_what_a_person_says_counts_before_what_was_loaded() -> None:
    endpoint = EndpointFactory()
    loaded(endpoint, 5)
    told = keep_alive_of(endpoint, MODEL, 0, 6)
    assert told
    assert (told.is_told, told.advice.seconds, told.loads) == (True, 1200, 1)


def test_without_a_word_the_loads_of_the_last_week_are_the_least_that_it_was_asked() -> None:
    endpoint = EndpointFactory()
    for days_ago in (1, 2, 6, 9):
        loaded(endpoint, 5, days_ago=days_ago)
    found = keep_alive_of(endpoint, MODEL, 0)
    assert found
    assert (found.is_told, found.loads, found.advice.seconds) == (False, 3, 300)
    assert found.requests_per_hour == pytest.approx(3 / 168)
