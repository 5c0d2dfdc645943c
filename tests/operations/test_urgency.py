"""Others give way to an operation while it waits for Berth alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models_app.inventory.routes import agent_url
from models_app.operations import handover, urgency
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import request_cancel
from models_app.operations.urgency import Urgency, urgent
from models_app.telemetry.precedence import Precedence
from tests.factories import EndpointFactory
from tests.operations.conftest import SMALL, Stage

OLLAMA = EndpointFactory.build(url="http://127.0.0.1:11434")


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> Precedence:
    """Those who give way."""
    precedence = Precedence()
    monkeypatch.setattr(urgency, "precedence", precedence)
    return precedence


def test_a_load_is_urgent_until_its_order_and_again_until_it_has_ended(
    ollama: Stage, others: Precedence, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = ""  # the worker is of this process
    monkeypatch.setattr(handover, "FRESH_SECONDS", 60)
    monkeypatch.setattr(urgency, "ORDER_SECONDS", 0)  # the server answers later than that
    told: list[str] = []
    for name, told_by in (("begin", "begins"), ("end", "ends")):
        act = getattr(others, name)
        monkeypatch.setattr(others, name, lambda *given, act=act, word=told_by: (told.append(word), act(*given))[1])
    operation = ollama.ask("load", SMALL)
    assert others.has_urgent  # the worker's now
    ollama.work(operation)
    assert told == ["begins", "begins", "ends", "ends", "begins", "ends"]
    assert not others.has_urgent


def test_a_load_that_no_worker_begins_is_urgent_no_more(
    ollama: Stage, others: Precedence, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = ""
    monkeypatch.setattr(handover, "FRESH_SECONDS", 60)
    operation = ollama.ask("load", SMALL)
    request_cancel(ollama.admin, operation)
    assert others.has_urgent
    assert ollama.work(operation).state == "cancelled"
    assert not others.has_urgent


def test_a_refused_request_is_urgent_no_more(ollama: Stage, others: Precedence) -> None:
    with pytest.raises(RequestRefused):
        ollama.ask("load", "no-such-model")
    assert not others.has_urgent
    assert not Operation.objects.exists()


@pytest.mark.django_db
def test_what_an_agent_is_asked_for_holds_nobody_up(others: Precedence) -> None:
    endpoint = EndpointFactory.build(url=agent_url(1, "ollama"))
    with urgent(endpoint):
        assert not others.has_urgent


async def test_it_ends_with_the_order_or_with_the_operation_whatever_comes_first(others: Precedence) -> None:
    load = Urgency()
    load.begin(OLLAMA)
    load.end_with_order()
    assert others.has_urgent
    load.end()
    assert not others.has_urgent


async def test_an_order_carried_out_at_once_does_not_end_what_follows_it(
    others: Precedence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urgency, "ORDER_SECONDS", 0)
    load = Urgency()
    load.begin(OLLAMA)
    load.end_with_order()
    load.begin(OLLAMA)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert others.has_urgent
