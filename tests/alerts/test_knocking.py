"""A scheduler that may hang is asked once, with a question that changes nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from django.utils import timezone

from models_app.alerts import knocking
from models_app.alerts.knocking import Knocker, suspects
from models_app.alerts.rules.facts import Facts, RunningLoad
from models_app.alerts.rules.past import Past, Rise
from models_app.alerts.snapshot import snapshot
from models_app.backends.protocol import LoadOptions
from models_app.simulation.faults import Fault
from tests.alerts.conftest import Theatre
from tests.operations.conftest import SMALL


def stalled(theatre: Theatre) -> tuple[Facts, Past]:
    """The facts with a load that has not moved for two minutes."""
    now = timezone.now()
    facts = snapshot(now)
    load = RunningLoad(7, theatre.stage.endpoint.pk, "another:7b", 0, None)
    changed = {name: getattr(facts, name) for name in Facts.__slots__} | {"loads": (load,)}
    return Facts(**changed), Past(rises={7: Rise(0, now - timedelta(minutes=2))})


def knocked(theatre: Theatre, times: int = 1) -> Knocker:
    knocker = Knocker()

    async def knock() -> None:
        for _ in range(times):
            knocker.begin(facts, past)
            await knocker.settled()

    facts, past = stalled(theatre)
    asyncio.run(knock())
    return knocker


def test_a_scheduler_that_works_answers_and_reloads_nothing(theatre: Theatre) -> None:
    theatre.stage.done("load", SMALL, LoadOptions(context_length=4096, keep_alive_seconds=600))
    loads, before = theatre.stage.server.loads, theatre.stage.loaded(SMALL).expires_at
    knocker = knocked(theatre, times=3)
    [answer] = knocker.answers.values()
    assert answer.answered_seconds is not None
    assert theatre.stage.server.loads == loads
    theatre.stage.look()
    assert abs(theatre.stage.loaded(SMALL).expires_at - before) < timedelta(seconds=5)


def test_a_scheduler_that_hangs_is_given_up_after_its_deadline(theatre: Theatre, monkeypatch) -> None:
    monkeypatch.setattr(knocking, "KNOCK_SECONDS", 0.3)
    theatre.stage.done("load", SMALL)
    theatre.stage.server.faults.add(Fault.HANG, path="/api/generate")
    [answer] = knocked(theatre).answers.values()
    assert answer.answered_seconds is None


def test_where_no_model_of_berths_is_in_memory_nothing_is_asked(theatre: Theatre) -> None:
    theatre.load(SMALL)
    theatre.see()
    assert knocked(theatre).answers == {}


def test_only_a_load_that_stands_still_is_suspicious(theatre: Theatre) -> None:
    facts, past = stalled(theatre)
    assert suspects(facts, past) == {theatre.stage.endpoint.pk}
    assert suspects(facts, Past(rises={7: Rise(5, facts.at)})) == set()
    assert suspects(facts, Past()) == set()
