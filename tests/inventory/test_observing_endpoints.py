"""What endpoints report in memory becomes rows, by guarded and sparing writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from models_app.backends.errors import BackendError, BadAnswer, ConnectionRefused, TimedOut, Unauthorized
from models_app.backends.protocol import ModelState, Observation, ResidentModel
from models_app.catalog.models import Installation
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.inventory.observe import look, look_and_record, record_failure, record_observation
from models_app.live import current_revision
from models_app.simulation.faults import Fault
from tests.factories import EndpointFactory, InstallationFactory, LoadedModelFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LLAMA = ResidentModel("llama3.1:8b", ModelState.LOADED, size_bytes=6_000, vram_bytes=5_000, context_length=4096)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_a_loaded_model_gets_a_row_with_what_the_endpoint_says(ollama: Endpoint, ollama_simulator: Any) -> None:
    await ollama_simulator.server.preload("llama3.1:8b", num_ctx=4096)
    await look_and_record(ollama)
    row = await LoadedModel.objects.aget(endpoint=ollama)
    assert (row.name, row.state, row.context_length, row.kept_forever) == ("llama3.1:8b", "loaded", 4096, True)
    assert 0 < row.vram_bytes <= row.size_bytes


async def test_an_unloaded_model_loses_its_row(router: Endpoint, router_simulator: Any) -> None:
    await router_simulator.server.preload("bge-m3-f16")
    assert (await look_and_record(router)).find("bge-m3-f16")
    assert await LoadedModel.objects.filter(endpoint=router).acount() == 1
    await router_simulator.serving.close()
    await router_simulator.serving.open()
    await look_and_record(router)
    assert await LoadedModel.objects.filter(endpoint=router).acount() == 0


async def test_a_look_alone_records_nothing(ollama: Endpoint, ollama_simulator: Any) -> None:
    await ollama_simulator.server.preload("llama3.1:8b")
    assert (await look(ollama)).find("llama3.1:8b")
    assert not await LoadedModel.objects.aexists()


@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        (Fault.GARBAGE, "faulty", "endpoint_bad_answer"),
        (Fault.HUGE_BODY, "faulty", "endpoint_bad_answer"),
        (Fault.REDIRECT, "faulty", "endpoint_bad_answer"),
        (Fault.SERVER_ERROR, "faulty", "endpoint_fault"),
        (Fault.UNAUTHORIZED, "unauthorized", "endpoint_unauthorized"),
        (Fault.CLOSE, "unreachable", "endpoint_unreachable"),
    ],
)
async def test_a_misbehaving_endpoint_is_described_and_keeps_its_models(
    ollama: Endpoint, ollama_simulator: Any, fault: Fault, state: str, code: str
) -> None:
    await ollama_simulator.server.preload("llama3.1:8b")
    await look_and_record(ollama)
    ollama_simulator.server.faults.add(fault)
    with pytest.raises(BackendError):
        await look_and_record(ollama)
    await ollama.arefresh_from_db()
    assert (ollama.state, ollama.state_code) == (state, code)
    assert ollama.state_message
    assert await LoadedModel.objects.filter(endpoint=ollama).acount() == 1


async def test_an_endpoint_that_comes_back_is_online_without_a_reason(ollama: Endpoint, ollama_simulator: Any) -> None:
    await ollama_simulator.serving.close()
    with pytest.raises(ConnectionRefused):
        await look_and_record(ollama)
    await ollama.arefresh_from_db()
    assert ollama.state == Endpoint.State.UNREACHABLE
    assert "listens" in ollama.state_message
    await ollama_simulator.serving.open()
    await look_and_record(ollama)
    await ollama.arefresh_from_db()
    assert (ollama.state, ollama.state_code, ollama.state_message, ollama.state_hint) == ("online", "", "", "")


@pytest.mark.django_db
def test_a_look_without_news_reads_twice_and_writes_nothing(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    endpoint = EndpointFactory(last_seen_at=NOON)
    record_observation(endpoint, Observation((LLAMA,)), later(1))
    with django_assert_num_queries(2):
        assert record_observation(endpoint, Observation((LLAMA,)), later(3)) is False


@pytest.mark.django_db(transaction=True)
def test_only_a_visible_change_is_published() -> None:
    endpoint = EndpointFactory(last_seen_at=NOON)
    assert record_observation(endpoint, Observation((LLAMA,)), later(1)) is True
    published = current_revision()
    assert published > 0
    record_observation(endpoint, Observation((LLAMA,)), later(2))
    record_observation(endpoint, Observation((LLAMA,)), later(60))
    assert current_revision() == published
    assert Endpoint.objects.get().last_seen_at == LoadedModel.objects.get().last_seen_at == later(60)


@pytest.mark.django_db
def test_changed_figures_are_written_and_the_first_sight_is_kept() -> None:
    endpoint = EndpointFactory()
    record_observation(endpoint, Observation((LLAMA,)), NOON)
    stopping = ResidentModel("llama3.1:8b", ModelState.STOPPING, vram_bytes=5_000, expires_at=later(9))
    record_observation(endpoint, Observation((stopping,)), later(1))
    row = LoadedModel.objects.get()
    assert (row.state, row.expires_at, row.size_bytes) == ("stopping", later(9), None)
    assert (row.first_seen_at, row.last_seen_at) == (NOON, later(1))


@pytest.mark.django_db
def test_an_observation_from_before_the_latest_change_is_dropped() -> None:
    endpoint = EndpointFactory()
    record_observation(endpoint, Observation((LLAMA,)), later(5))
    assert record_observation(endpoint, Observation(), later(4)) is False
    assert LoadedModel.objects.count() == 1
    record_observation(endpoint, Observation(), later(6))
    assert record_observation(endpoint, Observation((LLAMA,)), later(5)) is False
    assert LoadedModel.objects.count() == 0


@pytest.mark.django_db
def test_an_eviction_behind_our_back_marks_the_residency_as_lost() -> None:
    endpoint = EndpointFactory()
    residency = Residency.objects.create(endpoint=endpoint, name=LLAMA.name, requested_by="ada", since=NOON)
    record_observation(endpoint, Observation((LLAMA,)), later(1))
    residency.refresh_from_db()
    assert residency.lost_at is None
    record_observation(endpoint, Observation(), later(2))
    residency.refresh_from_db()
    assert residency.lost_at == later(2)


@pytest.mark.django_db
def test_a_process_that_died_leaves_its_reason_until_the_model_is_loaded_again() -> None:
    installation = InstallationFactory(name=LLAMA.name)
    endpoint = installation.endpoint
    died = Observation((), {LLAMA.name: "Its server process ended with exit code 139."})
    record_observation(endpoint, Observation((LLAMA,)), NOON)
    record_observation(endpoint, died, later(1))
    assert "139" in Installation.objects.get().last_failure
    record_observation(endpoint, Observation((LLAMA,)), later(2))
    assert Installation.objects.get().last_failure == ""


@pytest.mark.django_db
def test_a_failure_that_a_router_repeats_is_no_news() -> None:
    installation = InstallationFactory(name=LLAMA.name)
    record_observation(installation.endpoint, Observation((), {LLAMA.name: "an old story"}), NOON)
    assert Installation.objects.get().last_failure == ""


@pytest.mark.django_db
def test_the_same_failure_twice_is_recorded_once() -> None:
    endpoint = EndpointFactory()
    assert record_failure(endpoint, TimedOut("It did not answer in time.", hint="Is it up?"), NOON) is True
    assert record_failure(endpoint, TimedOut("It did not answer in time.", hint="Is it up?"), later(1)) is False
    assert record_failure(endpoint, Unauthorized("No key."), later(2)) is True
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.state_code, endpoint.state_message) == (
        "unauthorized",
        "endpoint_unauthorized",
        "No key.",
    )


@pytest.mark.django_db
def test_a_failure_from_before_the_latest_answer_is_dropped() -> None:
    endpoint = EndpointFactory(last_seen_at=later(5))
    assert record_failure(endpoint, BadAnswer("No JSON."), later(4)) is False
    endpoint.refresh_from_db()
    assert endpoint.state == Endpoint.State.ONLINE


@pytest.mark.django_db
def test_figures_that_no_column_holds_are_cut_and_names_left_out() -> None:
    endpoint = EndpointFactory()
    odd = ResidentModel("odd", ModelState.LOADED, digest="d" * 200, context_length=2**40, parallel=2**40)
    endless = ResidentModel("x" * 300, ModelState.LOADED)
    record_observation(endpoint, Observation((odd, endless)), NOON)
    row = LoadedModel.objects.get()
    assert (row.name, len(row.digest), row.context_length) == ("odd", 80, 2**31 - 1)
    assert record_observation(endpoint, Observation((odd, endless)), later(1)) is False


@pytest.mark.django_db
def test_one_endpoint_never_touches_the_models_of_another() -> None:
    other = LoadedModelFactory(name=LLAMA.name)
    endpoint = EndpointFactory()
    record_observation(endpoint, Observation((LLAMA,)), timezone.now())
    record_observation(endpoint, Observation(), timezone.now())
    assert list(LoadedModel.objects.all()) == [other]


async def test_a_single_llama_server_shows_its_one_model(single: Endpoint) -> None:
    await look_and_record(single)
    row = await sync_to_async(LoadedModel.objects.get)(endpoint=single)
    assert (row.name, row.state) == ("llama3.1", "loaded")
