"""Adding, starting, watching, changing and removing an Ollama that Berth starts, by pages and by the API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from models_app.accounts.models import AuditEntry
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint, Gpu, Host, ManagedServer
from models_app.operations.devices import allowed_gpus, uses_gpus
from models_app.operations.models import Operation
from tests.factories import GpuFactory, HostFactory
from tests.fixtures.managed import Machine

pytestmark = pytest.mark.django_db
API = "/api/v1/managed-servers"


@pytest.fixture
def host(own_machine: Host) -> Host:
    return own_machine


@pytest.fixture
def gpu(host: Host) -> Gpu:
    return GpuFactory(host=host)


@pytest.fixture
def form(managed_machine: Machine, gpu: Gpu) -> dict[str, Any]:
    return {"endpoint_name": "ollama-0", "models": str(managed_machine.models), "gpus": [gpu.uuid]}


@pytest.fixture
def server(as_admin: Client, host: Host, form: dict[str, Any]) -> ManagedServer:
    answer = as_admin.post(f"/hosts/{host.pk}/ollamas/add/", form | {"most_loaded": "1", "flash_attention": "on"})
    assert answer.status_code == 302, answer.content
    return ManagedServer.objects.get()


def page(client: Client, address: str, **how: Any) -> str:
    return str(client.get(address, **how).content.decode())


def test_the_form_offers_the_gpus_and_says_what_the_owner_allows(
    as_admin: Client, host: Host, gpu: Gpu, managed_machine: Machine
) -> None:
    shown = page(as_admin, f"/hosts/{host.pk}/ollamas/add/")
    assert gpu.uuid in shown
    assert f'value="{managed_machine.models}"' in shown
    assert str(managed_machine.allow_file) in shown
    assert f"/hosts/{host.pk}/ollamas/add/" in page(as_admin, "/hosts/")
    assert f"/hosts/{host.pk}/ollamas/add/" in page(as_admin, f"/hosts/{host.pk}/")


def test_it_is_added_stopped_and_its_page_has_its_settings(as_admin: Client, server: ManagedServer, gpu: Gpu) -> None:
    assert server.spec["gpus"] == [gpu.uuid]
    assert (server.spec["most_loaded"], server.spec["flash_attention"]) == (1, True)
    endpoint = server.endpoint
    assert (endpoint.kind, endpoint.state_code) == ("ollama", "server_stopped")
    shown = page(as_admin, f"/servers/{endpoint.pk}/")
    for words in ("Stopped", "Start", "Models at once", f"GPU {gpu.index}"):
        assert words in shown
    assert "ollama-0 is stopped." in page(as_admin, "/")
    assert AuditEntry.objects.filter(action="server.add").count() == 1


def test_what_it_may_touch_follows_from_its_settings(server: ManagedServer, gpu: Gpu) -> None:
    GpuFactory(host=gpu.host)
    assert allowed_gpus(server.endpoint, LoadOptions()) == {gpu.uuid}
    assert uses_gpus(server.endpoint, LoadOptions())


def test_it_is_started_restarted_stopped_and_removed(as_admin: Client, server: ManagedServer, form: dict[str, Any]) -> None:
    address = f"/servers/{server.endpoint_id}/"
    shown = as_admin.post(f"{address}start/", follow=True).content.decode()
    assert "ollama-0 runs." in shown
    assert "Running" in shown
    assert Endpoint.objects.get().state == "online"
    first = ManagedServer.objects.get().process_id
    as_admin.post(f"{address}edit/", form | {"endpoint_name": "renamed", "parallel": "2"})
    assert "Restart it to apply the new ones" in page(as_admin, address)
    assert "Restart renamed?" in page(as_admin, f"{address}restart/")
    assert "with its settings of now" in as_admin.post(f"{address}restart/", follow=True).content.decode()
    assert ManagedServer.objects.get().process_id not in (None, first)
    assert "renamed is stopped." in as_admin.post(f"{address}stop/", follow=True).content.decode()
    assert Endpoint.objects.get().state_code == "server_stopped"
    assert "is stopped and removed" in as_admin.post(f"{address}remove/", follow=True).content.decode()
    actions = list(AuditEntry.objects.filter(action__startswith="server.").order_by("pk").values_list("action", flat=True))
    assert actions == [f"server.{word}" for word in ("add", "start", "update", "stop", "start", "stop", "remove")]


def test_one_at_work_is_not_stopped(as_admin: Client, server: ManagedServer) -> None:
    Operation.objects.create(kind="load", endpoint=server.endpoint, model_name="tiny", requested_by="ada", via="web")
    answer = as_admin.post(f"/servers/{server.endpoint_id}/stop/")
    assert answer.status_code == 409
    assert "is at work on it" in answer.content.decode()


def test_a_start_that_fails_says_why(as_admin: Client, server: ManagedServer, managed_machine: Machine) -> None:
    managed_machine.allow("dies")
    shown = as_admin.post(f"/servers/{server.endpoint_id}/start/", follow=True).content.decode()
    assert "no GPU of that name" in shown
    assert "It last ended unasked." in shown


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("models", "/etc", "is no folder within those"),
        ("models", "", "Name the folder"),
        ("gpus", [], "Choose the GPUs"),
        ("keep_alive", "soon", "Write the time as in 30m"),
        ("most_loaded", "0", "must be from 1"),
        ("context_length", "many", "must be a whole number"),
        ("endpoint_name", "", "name"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    as_admin: Client, host: Host, form: dict[str, Any], field: str, value: Any, sentence: str
) -> None:
    answer = as_admin.post(f"/hosts/{host.pk}/ollamas/add/", form | {"parallel": "77", field: value})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert 'value="77"' in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_where_nothing_is_allowed_the_page_says_what_to_write(
    as_admin: Client, host: Host, managed_machine: Machine
) -> None:
    managed_machine.allow_file.write_text("")
    shown = page(as_admin, f"/hosts/{host.pk}/ollamas/add/")
    assert "names no Ollama" in shown
    assert "[ollama]" in shown
    assert "Nothing of Berth runs on" in page(as_admin, f"/hosts/{HostFactory().pk}/ollamas/add/")


def test_members_see_it_and_act_on_nothing(as_member: Client, server: ManagedServer, host: Host) -> None:
    shown = page(as_member, f"/servers/{server.endpoint_id}/")
    assert "ollama-0" in shown
    assert "/start/" not in shown
    for address in ("start", "stop", "restart", "edit"):
        assert as_member.post(f"/servers/{server.endpoint_id}/{address}/").status_code == 403
    assert as_member.get(f"/hosts/{host.pk}/ollamas/add/").status_code == 403
    assert as_member.post(f"{API}/ollamas/{server.pk}/start").status_code == 403


def test_a_llama_server_has_no_such_start(as_admin: Client, server: ManagedServer, managed_machine: Machine) -> None:
    ManagedServer.objects.update(spec=managed_machine.spec().as_json())
    Endpoint.objects.update(kind="llama_server", mode="managed")
    shown = as_admin.post(f"/servers/{server.endpoint_id}/start/", follow=True).content.decode()
    assert "it is started by loading its model" in shown
    assert as_admin.post(f"{API}/ollamas/{server.pk}/start").status_code == 404


def send(client: Client, method: str, address: str, body: dict[str, Any] | None = None) -> Any:
    return getattr(client, method)(f"{API}/{address}", json.dumps(body or {}), content_type="application/json")


def test_the_api_adds_starts_changes_and_stops(as_admin: Client, host: Host, gpu: Gpu, managed_machine: Machine) -> None:
    folder = str(managed_machine.models)
    choices = as_admin.get(f"{API}/ollamas/choices?host={host.pk}").json()
    assert choices == {"programs": ["fake"], "folders": [folder]}
    body = {"host": host.pk, "server_name": "ollama-0", "models": folder, "gpus": [gpu.uuid], "keep_alive": "30m"}
    added = send(as_admin, "post", "ollamas", body)
    assert added.status_code == 201, added.content
    number = added.json()["id"]
    assert (added.json()["kind"], added.json()["state"]) == ("ollama", "stopped")
    assert as_admin.get(added["Location"]).json() == added.json()
    started = send(as_admin, "post", f"ollamas/{number}/start").json()
    assert (started["state"], started["must_restart"]) == ("running", False)
    change = {"server_name": "renamed", "models": folder, "gpus": [gpu.uuid], "parallel": 2}
    changed = send(as_admin, "put", f"ollamas/{number}", change).json()
    assert (changed["server_name"], changed["settings"]["parallel"], changed["must_restart"]) == ("renamed", 2, True)
    assert "OLLAMA_KEEP_ALIVE" in as_admin.get(f"{API}/{number}/log").json()["lines"][0]
    assert send(as_admin, "put", str(number), {"server_name": "x", "name": "x", "model": folder}).status_code == 404
    assert send(as_admin, "post", f"ollamas/{number}/stop").json()["state"] == "stopped"
    assert as_admin.delete(f"{API}/{number}").status_code == 204


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"host": "nowhere"}, "unknown_host"),
        ({"models": "/etc"}, "not_allowed"),
        ({"gpus": ["GPU-of-nobody"]}, "unknown_gpu"),
        ({"gpus": []}, "gpu_needed"),
        ({"binary": "other"}, "not_allowed"),
        ({"keep_alive": "soon"}, "invalid_option"),
        ({"url": "http://127.0.0.1"}, "invalid_request"),
    ],
)
def test_the_api_refuses_with_the_reason(
    as_admin: Client, host: Host, gpu: Gpu, managed_machine: Machine, change: dict[str, Any], code: str
) -> None:
    body = {"host": host.pk, "server_name": "a", "models": str(managed_machine.models), "gpus": [gpu.uuid]} | change
    answer = send(as_admin, "post", "ollamas", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert not ManagedServer.objects.exists()
