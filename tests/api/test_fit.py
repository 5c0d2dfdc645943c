"""``POST /fit``: a question, open to everyone who may read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from models_app.accounts.models import AuditEntry
from models_app.catalog.headers import FoundHeader, record_headers
from models_app.catalog.models import Installation, VariantHeader
from models_app.gguf.ollama_show import header_from_show
from models_app.inventory.models import LoadedModel
from models_app.operations.models import Operation
from models_app.operations.reservations import Reservation
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.devices import SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.ollama_describe import show
from models_app.telemetry import sources
from models_app.telemetry.gpus import record_gpus
from tests.api.conftest import Script
from tests.factories import EndpointFactory, HostFactory, InstallationFactory, LoadedModelFactory, VariantFactory

GIB = 1024**3


@pytest.fixture
def machine() -> SimulatedHost:
    """A large card of which most is taken by a loaded model, and a small one."""
    machine = SimulatedHost("atlas", [SimulatedGpu("NVIDIA RTX A5000", 24 * GIB), SimulatedGpu("NVIDIA T4", 8 * GIB)])
    machine.allocate(machine.spawn("llama-server"), 0, 14 * GIB)
    return machine


@pytest.fixture
def place(db: None, machine: SimulatedHost) -> Iterator[Installation]:
    """llama3.1:8b on an Ollama with two GPUs; another model holds 14 GiB of the first."""
    host = HostFactory(name="atlas")
    sources.register(host, machine)
    record_gpus(host, machine.sample())
    endpoint = EndpointFactory(host=host, name="atlas-ollama", version="0.33.1")
    place = InstallationFactory(endpoint=endpoint, variant=VariantFactory(name="llama3.1:8b", digest="a" * 64))
    header = header_from_show(show(CATALOGUE["llama3.1:8b"], verbose=False))
    record_headers(endpoint.pk, {place.name: FoundHeader(header, "", VariantHeader.Source.ENDPOINT)})
    LoadedModelFactory(endpoint=endpoint, name="big:1", gpu_bytes={machine.gpus[0].uuid: 14 * GIB})
    yield place
    sources.unregister(host)


def ask(script: Script, **body: Any) -> dict[str, Any]:
    answer = script.post("fit", {"model": "llama3.1:8b", "options": {"context_length": 8192}} | body)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    return told


def test_a_reader_gets_the_terms_of_every_device(reader: Script, place: Installation) -> None:
    told = ask(reader)
    assert (told["model"], told["model_id"], told["options"]) == ("llama3.1:8b", place.variant_id, {"context_length": 8192})
    endpoint = told["endpoints"][0]
    assert (endpoint["endpoint"], endpoint["installed_as"], endpoint["verdict"]) == ("atlas-ollama", "llama3.1:8b", "fits")
    assert (endpoint["grade"], endpoint["build_profile"]) == ("header", "llama.cpp-2026-06")
    assert [device["name"] for device in endpoint["devices"]] == ["GPU 0", "GPU 1"]
    terms = endpoint["devices"][0]["terms"]
    assert terms["kv_bytes"] == GIB
    assert sum(value for name, value in terms.items() if name != "total_bytes") == terms["total_bytes"]
    assert endpoint["devices"][0]["needed_bytes"] == endpoint["needed_bytes"] == terms["total_bytes"]
    assert endpoint["placed_on"][0]["gpu"] == endpoint["devices"][0]["gpu"]
    assert endpoint["advice"] == []


def test_a_device_says_how_many_layers_it_could_take_and_whom_to_evict(reader: Script, place: Installation) -> None:
    large, small = ask(reader, options={"context_length": 65_536})["endpoints"][0]["devices"]
    assert (large["fit"], large["layer_count"]) == ("partly", 33)
    assert 0 < large["layers"] < 33
    assert [each["name"] for each in large["evict"]] == ["big:1"]
    assert large["free_after_bytes"] == large["free_bytes"] + 14 * GIB
    assert (small["fit"], small["evict"], small["free_after_bytes"]) == ("partly", [], None)


def test_what_will_be_unloaded_counts_as_free(reader: Script, place: Installation) -> None:
    loaded = LoadedModel.objects.get()
    device = ask(reader, options={"context_length": 65_536}, unload=[loaded.pk])["endpoints"][0]["devices"][0]
    assert (device["fit"], device["evict"]) == ("fits", [])
    assert device["available_bytes"] == device["free_bytes"] - device["headroom_bytes"] + 14 * GIB


def test_a_pinned_model_is_not_named_for_eviction(reader: Script, place: Installation) -> None:
    place.endpoint.residencies.create(
        name="big:1", pinned=True, requested_by="ada", since=LoadedModel.objects.get().first_seen_at
    )
    assert ask(reader, options={"context_length": 65_536})["endpoints"][0]["devices"][0]["evict"] == []


def test_the_advice_comes_in_the_order_of_least_harm(reader: Script, place: Installation) -> None:
    endpoint = ask(reader, options={"context_length": 131_072})["endpoints"][0]
    assert endpoint["verdict"] == "does_not_fit"
    remedies = [each["remedy"] for each in endpoint["advice"]]
    assert remedies == [name for name in ("quantization", "context", "batch", "layers", "kv_in_ram") if name in remedies]
    assert {"context", "layers"} <= set(remedies)
    for each in endpoint["advice"]:
        assert each["saved_bytes"] > 0
        assert 0 < each["speed_factor"] <= 2
        assert each["speed_evidence"]
    context = next(each for each in endpoint["advice"] if each["remedy"] == "context")
    assert context["fits"]
    assert context["settings"]["context_length"] < 131_072


def test_an_endpoint_without_the_model_says_so_and_is_answered_for(reader: Script, place: Installation) -> None:
    EndpointFactory(name="elsewhere")
    told = ask(reader)["endpoints"]
    assert [(each["endpoint"], each["installed_as"]) for each in told] == [
        ("atlas-ollama", "llama3.1:8b"),
        ("elsewhere", None),
    ]
    assert (told[1]["verdict"], told[1]["devices"]) == ("unknown", [])
    assert told[1]["needed_bytes"]


def test_a_model_is_known_by_its_id_too_and_an_endpoint_by_either(reader: Script, place: Installation) -> None:
    for endpoint in (place.endpoint_id, place.endpoint.name):
        assert len(ask(reader, model=place.variant_id, endpoint=endpoint)["endpoints"]) == 1


def test_asking_changes_nothing(reader: Script, place: Installation) -> None:
    entries = AuditEntry.objects.count()
    ask(reader)
    assert AuditEntry.objects.count() == entries
    assert not Operation.objects.exists()
    assert not Reservation.objects.exists()


def test_without_a_token_there_is_no_answer(place: Installation) -> None:
    answer = Client().post("/api/v1/fit", {"model": "llama3.1:8b"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_member_asks_from_the_browser_only_with_a_csrf_token(member: User, place: Installation) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member)
    body = {"model": "llama3.1:8b"}
    assert browser.post("/api/v1/fit", body, content_type="application/json").status_code == 403
    browser = Client()
    browser.force_login(member)
    assert browser.post("/api/v1/fit", body, content_type="application/json").status_code == 200


def test_reading_is_not_enough_for_an_operation(reader: Script, place: Installation) -> None:
    answer = reader.post("operations", {"kind": "load", "endpoint": place.endpoint_id, "model": "llama3.1:8b"})
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"model": "nobody"}, "unknown_model", "model"),
        ({"model": "a\x00b"}, "unknown_model", "model"),
        ({"model": "x" * 100_000}, "unknown_model", "model"),
        ({"model": 10**30}, "unknown_model", "model"),
        ({"model": -1}, "unknown_model", "model"),
        ({"model": None}, "invalid_request", ""),
        ({"model": ["llama3.1:8b"]}, "invalid_request", ""),
        ({}, "invalid_request", "model"),
        ({"endpoint": "nowhere"}, "unknown_endpoint", "endpoint"),
        ({"endpoint": 2**70}, "unknown_endpoint", "endpoint"),
        ({"unload": [10**30]}, "unknown_loaded_model", "unload"),
        ({"unload": [-4]}, "unknown_loaded_model", "unload"),
        ({"unload": list(range(101))}, "invalid_request", "unload"),
        ({"unload": "all"}, "invalid_request", "unload"),
        ({"options": {"context_length": 0}}, "invalid_option", "options.context_length"),
        ({"options": {"context_length": "many"}}, "invalid_option", "options.context_length"),
        ({"options": {"parallel": 10**9}}, "invalid_option", "options.parallel"),
        ({"options": {"cache_type_v": "q8_0", "flash_attention": False}}, "invalid_option", "options.cache_type_v"),
        ({"options": {"no_such": 1}}, "unknown_option", "no_such"),
        ({"options": 3}, "invalid_request", "options"),
        ({"load_anyway": True}, "invalid_request", "load_anyway"),
    ],
)
def test_hostile_or_senseless_input_is_a_problem_document(
    reader: Script, place: Installation, body: dict[str, Any], code: str, field: str
) -> None:
    whole = body if body in ({}, {"model": None}) or "model" in body else {"model": "llama3.1:8b"} | body
    answer = reader.post("fit", whole)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert field in str(answer.json().get("errors"))


@pytest.mark.parametrize("context_length", [1, 2, 255, 1_000_000, 100_000_000])
@pytest.mark.parametrize("parallel", [1, 1024])
def test_extreme_but_possible_settings_are_answered(
    reader: Script, place: Installation, context_length: int, parallel: int
) -> None:
    told = ask(reader, options={"context_length": context_length, "parallel": parallel, "gpu_layers": 10_000})
    assert told["endpoints"][0]["verdict"] in {"fits", "does_not_fit"}


def test_a_damaged_header_falls_back_to_the_rule_of_thumb(reader: Script, place: Installation) -> None:
    VariantHeader.objects.update(content=b"damaged")
    endpoint = ask(reader)["endpoints"][0]
    assert (endpoint["grade"], endpoint["verdict"]) == ("quick", "fits")
    assert any("damaged" in note for note in endpoint["notes"])


def test_the_description_tells_of_it(reader: Script, place: Installation) -> None:
    paths = reader.client.get("/api/openapi.json", headers={"Authorization": f"Bearer {reader.secret}"}).json()["paths"]
    assert "200" in paths["/api/v1/fit"]["post"]["responses"]


def test_a_keep_alive_is_advised_from_the_frequency_of_requests(reader: Script, place: Installation) -> None:
    assert ask(reader)["endpoints"][0]["keep_alive"] is None
    advised = ask(reader, requests_per_hour=6)["endpoints"][0]["keep_alive"]
    assert (advised["seconds"], advised["is_told"], advised["loads"]) == (1200, True, 0)
    assert advised["reload_seconds"] == place.variant.file_size_bytes / 2e9
    assert not advised["reload_is_measured"]


@pytest.mark.parametrize("senseless", [-1, 1e9, "often"])
def test_a_frequency_that_makes_no_sense_is_refused(reader: Script, place: Installation, senseless: Any) -> None:
    answer = reader.post("fit", {"model": "llama3.1:8b", "requests_per_hour": senseless})
    assert answer.status_code == 422
