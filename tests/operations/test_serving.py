"""How to serve a set of models: estimates against what the machine gives once nothing of Berth's is loaded."""

from __future__ import annotations

import pytest

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Variant
from models_app.estimator.strategy import Strategy
from models_app.operations.serving import Question, Role, Serving, serving
from models_app.simulation.devices import GIB
from tests.factories import HostFactory, VariantFactory
from tests.operations.conftest import EMBEDDING, LARGE, MIDDLE, SMALL, Stage


def variants(*names: str) -> list[Variant]:
    return [Variant.objects.select_related("header").get(installations__name=name) for name in names]


def asked(stage: Stage, *names: str, **more: object) -> Serving:
    question = Question(variants(*names), stage.endpoint.host, **more)  # type: ignore[arg-type]
    return serving(question, stage.machine.sample())


def test_what_fits_together_stays_together(ollama: Stage) -> None:
    answer = asked(ollama, SMALL, MIDDLE, EMBEDDING)
    assert answer.advice
    assert answer.advice.strategy is Strategy.CONCURRENT
    assert {answer.role_of(each) for each in answer.candidates} == {Role.STAYS}
    assert answer.advice.chosen.peak_bytes == sum(each.reserve_bytes for each in answer.candidates) < answer.capacity_bytes


def test_what_does_not_fit_takes_turns(ollama: Stage) -> None:
    answer = asked(ollama, SMALL, MIDDLE, LARGE, tolerated_seconds=0.5)
    assert answer.advice
    assert answer.advice.strategy is Strategy.HOT_SWAP
    assert "tolerated" in answer.advice.reason
    assert {answer.role_of(each) for each in answer.candidates} == {Role.SWAPS}


def test_what_berth_has_loaded_counts_as_free_and_what_others_hold_does_not(ollama: Stage) -> None:
    empty = asked(ollama, SMALL)
    ollama.done("load", SMALL)
    loaded = asked(ollama, SMALL)
    assert loaded.capacity_bytes == pytest.approx(empty.capacity_bytes, rel=1e-3)
    assert loaded.free_bytes < empty.free_bytes == empty.capacity_bytes
    ollama.machine.allocate(ollama.machine.spawn("python3"), 0, 4 * GIB)
    assert asked(ollama, SMALL).capacity_bytes == loaded.capacity_bytes - 4 * GIB


def test_a_load_that_berth_has_seen_says_what_the_next_one_costs(ollama: Stage) -> None:
    [before] = asked(ollama, SMALL).candidates
    ollama.done("load", SMALL, LoadOptions(context_length=8192))
    [after] = asked(ollama, SMALL).candidates
    assert (before.reload.is_measured, after.reload.is_measured) == (False, True)
    assert before.reload.seconds
    assert after.reload.seconds
    assert before.reload.seconds > after.reload.seconds


def test_a_longer_context_needs_more_but_never_more_than_was_trained(ollama: Stage) -> None:
    short, long = (asked(ollama, SMALL, context_length=tokens).candidates[0] for tokens in (4096, 65_536))
    assert (long.needed_bytes or 0) > (short.needed_bytes or 0)
    assert asked(ollama, EMBEDDING, context_length=65_536).candidates[0].context_length == 2048


def test_a_model_that_is_installed_elsewhere_is_reckoned_to_be_pulled(ollama: Stage) -> None:
    other = VariantFactory()
    answer = serving(Question([other], ollama.endpoint.host), ollama.machine.sample())
    [candidate] = answer.candidates
    assert (candidate.endpoint, candidate.installed_as) == (ollama.endpoint, "")
    assert candidate.needed_bytes


def test_a_machine_without_servers_or_figures_says_so(ollama: Stage) -> None:
    answer = serving(Question(variants(SMALL), HostFactory()), None)
    assert answer.advice is None
    assert "No server" in answer.candidates[0].why
    assert answer.role_of(answer.candidates[0]) is Role.UNKNOWN
