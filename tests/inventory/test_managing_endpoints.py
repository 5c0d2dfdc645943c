"""Adding, changing and removing endpoints: what is refused, what is audited, and where a key may go."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from models_app.accounts.models import AuditEntry
from models_app.backends.protocol import BackendKind
from models_app.inventory import connect, endpoints
from models_app.inventory.endpoints import add_endpoint, remove_endpoint, update_endpoint
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host
from models_app.simulation.catalogue import models
from models_app.simulation.faults import Fault
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.server import serve
from tests.factories import EndpointFactory, GpuFactory, InstallationFactory, OperationFactory
from tests.inventory.conftest import ADA


def nobody_objects(endpoint: Endpoint) -> str:
    return ""


async def test_an_endpoint_is_added_with_what_it_says_of_itself(host: Host, ollama_simulator: Any) -> None:
    endpoint = await add_endpoint(ADA, host, "", ollama_simulator.url + "/")
    assert (endpoint.kind, endpoint.mode, endpoint.version, endpoint.state) == ("ollama", "ollama", "0.33.0", "online")
    assert endpoint.url == ollama_simulator.url
    assert {"load", "unload", "pull", "delete", "keep_alive"} <= set(endpoint.capabilities)
    assert endpoint.name == f"ollama :{ollama_simulator.serving.port} on gpu-1"
    assert await AuditEntry.objects.filter(action="endpoint.add", object_id=endpoint.pk, actor_name="ada").aexists()


async def test_a_router_is_recognised_by_its_answers(router: Endpoint) -> None:
    assert (router.kind, router.mode) == ("llama_server", "router")


@pytest.mark.parametrize(
    "spelling", ["http://localhost:{}", "http://127.0.0.1:{}/", "http://[::1]:{}", "HTTP://LocalHost:{}"]
)
async def test_the_same_address_is_refused_however_it_is_spelt(ollama: Endpoint, host: Host, spelling: str) -> None:
    port = ollama.url.rpartition(":")[2]
    with pytest.raises(InventoryRefused) as refusal:
        await add_endpoint(ADA, host, "again", spelling.format(port))
    assert (refusal.value.code, refusal.value.field) == ("address_taken", "url")
    assert "ollama" in refusal.value.message


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "ftp://gpu-1:11434", "http://gpu-1:22", "http://ada:pw@gpu-1:11434", "gpu-1", ""]
)
async def test_a_forbidden_address_is_refused_before_anything_is_sent(host: Host, url: str) -> None:
    with pytest.raises(InventoryRefused) as refusal:
        await add_endpoint(ADA, host, "x", url)
    assert (refusal.value.code, refusal.value.field) == ("address_refused", "url")


async def test_a_closed_port_is_refused_with_what_to_do(host: Host, ollama_simulator: Any) -> None:
    await ollama_simulator.serving.close()
    with pytest.raises(InventoryRefused) as refusal:
        await add_endpoint(ADA, host, "x", ollama_simulator.url)
    assert refusal.value.code == "endpoint_refused_connection"
    assert "11434" in refusal.value.hint
    assert not await Endpoint.objects.aexists()


async def test_another_program_than_the_chosen_one_is_refused(host: Host, ollama_simulator: Any) -> None:
    with pytest.raises(InventoryRefused) as refusal:
        await add_endpoint(ADA, host, "x", ollama_simulator.url, kind=BackendKind.LLAMA_SERVER)
    assert refusal.value.code == "endpoint_bad_answer"


async def test_a_name_is_taken_whatever_its_case(ollama: Endpoint, host: Host, router_simulator: Any) -> None:
    with pytest.raises(InventoryRefused) as refusal:
        await add_endpoint(ADA, host, "OLLAMA", router_simulator.url)
    assert (refusal.value.code, refusal.value.field) == ("name_taken", "name")


async def test_a_test_of_a_connection_reports_and_never_raises(transactional_db: None, ollama_simulator: Any) -> None:
    report = await connect.test_connection(ollama_simulator.url)
    assert report.ok
    assert report.info
    assert (report.info.version, report.model_count) == ("0.33.0", 5)
    ollama_simulator.server.faults.add(Fault.GARBAGE)
    report = await connect.test_connection(ollama_simulator.url)
    assert (report.ok, report.code) == (False, "endpoint_bad_answer")
    report = await connect.test_connection("http://[::ffff:169.254.169.254]/")
    assert (report.ok, report.code) == (False, "address_refused")


async def test_a_key_is_not_sent_to_another_address(host: Host, simulated_host: Any, router_simulator: Any) -> None:
    locked = LlamaRouterSimulator(simulated_host, models("bge-m3-f16"), api_key="sesame")
    async with serve(locked) as serving:
        with pytest.raises(InventoryRefused) as refusal:
            await add_endpoint(ADA, host, "locked", serving.url)
        assert (refusal.value.code, refusal.value.field) == ("endpoint_unauthorized", "api_key")
        endpoint = await add_endpoint(ADA, host, "locked", serving.url, "sesame")
        with pytest.raises(InventoryRefused) as refusal:
            await update_endpoint(ADA, endpoint, url=router_simulator.url)
        assert (refusal.value.code, refusal.value.field) == ("key_needed", "api_key")
    moved = await update_endpoint(ADA, endpoint, url=router_simulator.url, api_key="")
    assert (moved.url, moved.api_key) == (router_simulator.url, "")
    audited = [str(entry.detail) async for entry in AuditEntry.objects.all()]
    assert not any("sesame" in detail for detail in audited)


async def test_a_rename_asks_the_endpoint_nothing(ollama: Endpoint, ollama_simulator: Any) -> None:
    asked = len(ollama_simulator.server.requests)
    renamed = await update_endpoint(ADA, ollama, name=" kitchen ")
    assert renamed.name == "kitchen"
    assert len(ollama_simulator.server.requests) == asked


async def test_a_new_address_is_asked_who_it_is(ollama: Endpoint, router_simulator: Any) -> None:
    moved = await update_endpoint(ADA, ollama, url=router_simulator.url)
    assert (moved.kind, moved.mode, moved.url) == ("llama_server", "router", router_simulator.url)


async def test_what_somebody_else_changed_meanwhile_is_not_undone(
    ollama: Endpoint, router_simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is entered for the address that was on the form: it must not reach the one that is there since."""
    other = f"{router_simulator.url}/elsewhere"
    asked = endpoints._identified

    async def meanwhile(*about: Any) -> Any:
        await Endpoint.objects.filter(pk=ollama.pk).aupdate(url=other)
        return await asked(*about)

    monkeypatch.setattr(endpoints, "_identified", meanwhile)
    with pytest.raises(InventoryRefused) as refusal:
        await update_endpoint(ADA, ollama, api_key="a new key")
    assert (refusal.value.code, refusal.value.field) == ("endpoint_changed", "url")
    after = await Endpoint.objects.aget()
    assert (after.url, after.api_key) == (other, "")


async def test_an_endpoint_that_was_removed_meanwhile_is_not_changed(ollama: Endpoint) -> None:
    await Endpoint.objects.all().adelete()
    with pytest.raises(InventoryRefused, match="has removed ollama meanwhile"):
        await update_endpoint(ADA, ollama, name="another name")


async def test_of_two_that_get_one_address_at_once_the_later_is_refused(
    ollama: Endpoint, router_simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "checked_url", lambda url, *_: url)
    await sync_to_async(EndpointFactory)(url=router_simulator.url)
    with pytest.raises(InventoryRefused) as refusal:
        await update_endpoint(ADA, ollama, url=router_simulator.url)
    assert refusal.value.code == "address_taken"


@pytest.mark.django_db
def test_removing_an_endpoint_tells_what_is_lost() -> None:
    installation = InstallationFactory()
    OperationFactory(endpoint=installation.endpoint)
    lost = remove_endpoint(ADA, installation.endpoint, guard=nobody_objects)
    assert lost == {"installations": 1, "operations": 1}
    assert not Endpoint.objects.exists()
    assert AuditEntry.objects.get(action="endpoint.remove").detail["lost"] == lost


@pytest.mark.django_db
def test_an_endpoint_at_work_is_not_removed() -> None:
    endpoint = InstallationFactory().endpoint
    with pytest.raises(InventoryRefused) as refusal:
        remove_endpoint(ADA, endpoint, guard=lambda _: "A load is running on it.")
    assert (refusal.value.code, refusal.value.message) == ("endpoint_in_use", "A load is running on it.")
    assert Endpoint.objects.exists()


async def test_the_settings_limit_the_ports(host: Host, ollama_simulator: Any) -> None:
    allowed = ((11434, 11434), (8080, 8090))
    with override_settings(ENDPOINT_PORTS=allowed), pytest.raises(InventoryRefused, match="not allowed"):
        await add_endpoint(ADA, host, "x", ollama_simulator.url)


async def test_a_backend_knows_the_gpus_of_its_host(ollama: Endpoint) -> None:
    assert "gpu" not in ollama.load_options
    await sync_to_async(GpuFactory)(host=ollama.host)
    backend = await sync_to_async(connect.backend_for)(ollama)
    info = await backend.identify()
    await backend.aclose()
    assert "gpu" in info.load_options


@pytest.mark.parametrize(("mode", "kind"), [("ollama", "ollama"), ("router", "llama_server")])
def test_the_form_of_a_name_is_known_without_reading_rows(
    db: None, django_assert_num_queries: Any, mode: str, kind: str
) -> None:
    endpoint = EndpointFactory(mode=mode, kind=kind)
    with django_assert_num_queries(0):
        assert connect.canonical_name(endpoint, "tiny") == ("tiny:latest" if mode == "ollama" else "tiny")
