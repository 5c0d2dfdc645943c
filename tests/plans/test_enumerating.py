"""What is alike is enumerated once, and what differs by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from models_app.inventory.models import Endpoint
from models_app.operations.facts import installed_facts
from models_app.operations.models import Operation, OperationStep
from models_app.plans import sizes
from models_app.plans.demand import read_demand
from models_app.plans.loading import LoadTimes
from models_app.plans.naming import Library
from models_app.plans.options import Enumerated, Enumerator
from models_app.plans.snapshot import take_snapshot
from tests.factories import InstallationFactory, VariantFactory
from tests.plans.fleets import OneHost, one_host

pytestmark = pytest.mark.django_db

MODEL = "llama3.1:8b"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every estimate that is asked for."""
    found: list[Any] = []

    def counted(subject: Any, gpus: Any) -> Any:
        found.append((subject.settings, len(gpus)))
        return reckon(subject, gpus)

    reckon = sizes.reckon
    monkeypatch.setattr(sizes, "reckon", counted)
    return found


def hosts(*others_gib: int) -> list[OneHost]:
    """Hosts of one GPU, of which other programs use so much; all have the same model."""
    made = []
    variant = VariantFactory(name=MODEL)
    for used in others_gib:
        host = one_host(gpus=1)
        InstallationFactory(variant=variant, endpoint=host.endpoint, name=MODEL)
        host.sample(others_gib=(used,))
        made.append(host)
    return made


def enumerated(**demand: Any) -> Enumerated:
    library = Library(installed_facts(Endpoint.objects.select_related("host")))
    spec = read_demand({"name": "chat", "model": MODEL, "context_length": 16384, "least_context_length": 4096} | demand)
    return Enumerator(take_snapshot(), library, LoadTimes()).enumerate(spec)


def test_servers_that_are_alike_share_their_options_and_are_reckoned_once(asked: list[Any]) -> None:
    made = hosts(0, 0, 0)
    found = enumerated()
    assert len(asked) == len(set(asked))
    everywhere = frozenset(str(host.endpoint.pk) for host in made)
    assert {option.endpoints for option in found.options} == {everywhere}
    assert all(set(ways) == {host.endpoint.pk for host in made} for ways in found.ways.values())


def test_a_server_with_less_room_is_offered_what_fits_there() -> None:
    roomy, tight = (str(host.endpoint.pk) for host in hosts(0, 20))
    found = enumerated()
    layers = {
        name: {each.gpu_layers for each in found.options if name in (each.endpoints or ())} for name in (roomy, tight)
    }
    assert layers[roomy] < layers[tight]


def test_a_load_is_reckoned_with_what_it_took_there_before_and_the_solver_with_it() -> None:
    (host,) = hosts(0)
    guessed = {option.load_seconds for option in enumerated(on_demand=True).options}
    for number, seconds in enumerate((40, 8)):  # cold, and warm a minute later
        began = timezone.now() + timedelta(minutes=number)
        operation = Operation.objects.create(kind="load", endpoint=host.endpoint, model_name=MODEL, state="succeeded")
        OperationStep.objects.create(
            operation=operation,
            position=0,
            action="load",
            model_name=MODEL,
            state="done",
            verified_by="process",
            started_at=began,
            finished_at=began + timedelta(seconds=seconds),
        )
    measured = {option.load_seconds for option in enumerated(on_demand=True).options}
    assert (guessed, measured) == ({5.9}, {40.0})


def test_where_only_gpus_will_do_nothing_is_reckoned_for_the_cpu(asked: list[Any]) -> None:
    hosts(0)
    found = enumerated(gpu_only=True)
    assert found.options
    assert all(settings.gpu_layers is None for settings, _ in asked)
