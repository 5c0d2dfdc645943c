"""Adding, watching, changing and removing a server that Berth starts itself, by pages and by the API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from models_app.accounts.models import AuditEntry
from models_app.estimator.advice import Advice, Remedy
from models_app.estimator.speed import speed_unchanged
from models_app.estimator.types import LoadSettings
from models_app.inventory.models import Endpoint, Host, ManagedServer
from models_app.operations.models import Operation
from models_app.web.fit_links import offer_link
from models_app.web.load_form import LoadForm
from tests.factories import GpuFactory, HostFactory
from tests.fixtures.managed import Machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(own_machine: Host) -> Host:
    return own_machine


@pytest.fixture
def path(managed_machine: Machine) -> str:
    return str(managed_machine.models / "tiny.gguf")


@pytest.fixture
def server(as_admin: Client, host: Host, path: str) -> ManagedServer:
    answer = post(as_admin, {"host": host.pk, "name": "tiny", "model": path})
    assert answer.status_code == 201, answer.content
    return ManagedServer.objects.get(pk=answer.json()["id"])


def post(client: Client, body: dict[str, object]) -> Any:
    return client.post("/api/v1/managed-servers", json.dumps(body), content_type="application/json")


def test_the_files_of_the_allowed_folders_are_offered(as_admin: Client, host: Host, path: str) -> None:
    page = as_admin.get(f"/hosts/{host.pk}/servers/add/").content.decode()
    assert path in page
    assert "No GGUF file" in as_admin.get(f"/hosts/{host.pk}/servers/add/?q=absent").content.decode()


def test_without_an_allow_list_the_page_says_what_to_write_and_where(
    as_admin: Client, host: Host, managed_machine: Machine
) -> None:
    managed_machine.allow_file.unlink()
    page = as_admin.get(f"/hosts/{host.pk}/servers/add/").content.decode()
    assert str(managed_machine.allow_file) in page
    assert "[llama_server]" in page


def test_a_host_without_an_agent_cannot_have_one_and_says_so(as_admin: Client) -> None:
    page = as_admin.get(f"/hosts/{HostFactory().pk}/servers/add/").content.decode()
    assert "Nothing of Berth runs on" in page


def test_a_chosen_file_shows_its_header_and_whether_it_fits(as_admin: Client, host: Host, path: str) -> None:
    page = as_admin.get(f"/hosts/{host.pk}/servers/add/", {"model": path}).content.decode()
    assert 'value="tiny"' in page
    assert "Its header cannot be read" in page
    assert "Does it fit?" in page


def test_a_server_is_added_by_the_form(as_admin: Client, host: Host, path: str) -> None:
    gpu = GpuFactory(host=host)
    form = {"model": path, "name": "small", "context_length": "2048", "parallel": "2", "gpus": [gpu.uuid], "threads": "3"}
    answer = as_admin.post(f"/hosts/{host.pk}/servers/add/", form, follow=True)
    row = ManagedServer.objects.get()
    assert (row.spec["name"], row.spec["context_length"], row.spec["threads"]) == ("small", 2048, 3)
    assert row.spec["gpus"] == [gpu.uuid]
    assert row.endpoint.installations.get().launch["ctx_size"] == 4096
    page = answer.content.decode()
    assert "Stopped" in page
    assert "Start" in page
    assert AuditEntry.objects.filter(action="server.add").count() == 1


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("context_length", "many", "must be a whole number"),
        ("threads", "0", "must be from 1"),
        ("extra", "--api-key x", "does not allow the flag --api-key"),
        ("extra", '"open', "quotation mark"),
        ("cache_type_k", "q9", "cache type is one of"),
        ("name", "", "name"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_lost(
    as_admin: Client, host: Host, path: str, field: str, value: str, sentence: str
) -> None:
    form = {"model": path, "name": "tiny", "batch": "77"} | {field: value}
    answer = as_admin.post(f"/hosts/{host.pk}/servers/add/", form)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert sentence in page
    assert 'value="77"' in page
    assert not Endpoint.objects.exists()


def test_a_file_outside_of_the_folders_is_refused(as_admin: Client, host: Host) -> None:
    answer = as_admin.post(f"/hosts/{host.pk}/servers/add/", {"model": "/etc/passwd", "name": "tiny"})
    assert answer.status_code == 422
    assert "outside of the model folders" in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_members_see_the_server_and_have_no_buttons(as_member: Client, server: ManagedServer) -> None:
    page = as_member.get(f"/servers/{server.endpoint_id}/").content.decode()
    assert server.endpoint.name in page
    assert "Start" not in page
    assert as_member.get(f"/servers/{server.endpoint_id}/edit/").status_code == 403
    assert as_member.post(f"/servers/{server.endpoint_id}/remove/").status_code == 403


RUNS = {"state": "running", "process_id": 1, "settings_digest": "of other settings"}


def test_changed_settings_of_a_server_that_runs_ask_for_a_restart(as_admin: Client, server: ManagedServer) -> None:
    ManagedServer.objects.update(**RUNS)
    form = {"model": server.spec["model"], "name": "tiny", "endpoint_name": "renamed", "context_length": "1024"}
    page = as_admin.post(f"/servers/{server.endpoint_id}/edit/", form, follow=True).content.decode()
    assert "renamed is saved. It runs with its former settings until it is restarted." in page
    ManagedServer.objects.update(**RUNS)
    assert "Restart it to apply the new ones" in as_admin.get(f"/servers/{server.endpoint_id}/").content.decode()


def test_an_advice_fills_in_the_settings(as_admin: Client, server: ManagedServer) -> None:
    form = LoadForm({"kind": "load", "endpoint": str(server.endpoint_id), "model": "tiny"})
    kv_in_ram = Advice(Remedy.KV_IN_RAM, "", LoadSettings(kv_offload=False), "", 0, 1, True, speed_unchanged(None))
    offered = offer_link(form, kv_in_ram)
    assert offered == f"/servers/{server.endpoint_id}/edit/?kv_offload=off"
    page = as_admin.get(offered).content.decode()
    assert '<option value="off" selected>in host RAM</option>' in page


def test_the_model_of_a_server_that_runs_keeps_its_name(as_admin: Client, server: ManagedServer) -> None:
    ManagedServer.objects.update(**RUNS)
    form = {"model": server.spec["model"], "name": "other", "endpoint_name": "tiny"}
    refused = as_admin.post(f"/servers/{server.endpoint_id}/edit/", form)
    assert refused.status_code == 422
    assert "Stop the server before" in refused.content.decode()


def test_a_removal_is_confirmed_and_takes_the_rows_with_it(
    as_admin: Client, server: ManagedServer, managed_machine: Machine
) -> None:
    assert "requests under way fail" in as_admin.get(f"/servers/{server.endpoint_id}/remove/").content.decode()
    assert Endpoint.objects.exists()
    as_admin.post(f"/servers/{server.endpoint_id}/remove/", {"confirmed": "1"})
    assert not Endpoint.objects.exists()
    assert (managed_machine.models / "tiny.gguf").exists()
    assert AuditEntry.objects.filter(action="server.remove").count() == 1


def test_a_server_at_work_is_not_removed(as_admin: Client, server: ManagedServer) -> None:
    Operation.objects.create(kind="load", endpoint=server.endpoint, model_name="tiny", requested_by="ada", via="web")
    answer = as_admin.post(f"/servers/{server.endpoint_id}/remove/", {"confirmed": "1"})
    assert answer.status_code == 409
    assert "is at work on it" in answer.content.decode()
    assert Endpoint.objects.exists()


def test_the_question_whether_to_remove_its_host_says_at_once_what_is_in_the_way(
    as_admin: Client, server: ManagedServer
) -> None:
    for address in (f"/hosts/{server.endpoint.host_id}/remove/", f"/endpoints/{server.endpoint_id}/remove/"):
        assert "Remove it as a managed server" in as_admin.get(address).content.decode()


def test_it_is_not_removed_or_readdressed_as_a_mere_endpoint(as_admin: Client, server: ManagedServer) -> None:
    answer = as_admin.post(f"/endpoints/{server.endpoint_id}/remove/", {"confirmed": "1"})
    assert "is a server that Berth runs" in answer.content.decode()
    form = {"url": "http://127.0.0.1:9", "endpoint_name": "x"}
    assert (
        "its address and key are its own" in as_admin.post(f"/endpoints/{server.endpoint_id}/edit/", form).content.decode()
    )
    assert Endpoint.objects.get().mode == "managed"


def test_the_api_adds_lists_changes_and_removes(as_admin: Client, host: Host, server: ManagedServer) -> None:
    address = f"/api/v1/managed-servers/{server.pk}"
    shown = as_admin.get(address).json()
    assert (shown["state"], shown["settings"]["name"], shown["must_restart"]) == ("stopped", "tiny", False)
    assert as_admin.get("/api/v1/managed-servers?state=stopped").json()["total"] == 1
    assert as_admin.get(f"{address}/log").json() == {"lines": []}
    files = as_admin.get(f"/api/v1/managed-servers/files?host={host.pk}&search=tiny").json()
    assert [each["path"] for each in files["files"]] == [server.spec["model"]]
    change = {"server_name": "renamed", "name": "tiny", "model": server.spec["model"], "parallel": 2}
    changed = as_admin.put(address, json.dumps(change), content_type="application/json").json()
    assert (changed["server_name"], changed["settings"]["parallel"]) == ("renamed", 2)
    assert as_admin.delete(address).status_code == 204
    assert as_admin.get(address).status_code == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"host": "nowhere"}, "unknown_host"),
        ({"model": "/etc/passwd"}, "not_allowed"),
        ({"gpus": ["GPU-of-nobody"]}, "unknown_gpu"),
        ({"extra": ["--host", "0.0.0.0"]}, "not_allowed"),
        ({"context_length": 0}, "invalid_option"),
        ({"name": "a\nb"}, "invalid_option"),
        ({"shell": "rm -rf /"}, "invalid_request"),
    ],
)
def test_the_api_refuses_with_a_stable_code(
    as_admin: Client, host: Host, path: str, change: dict[str, object], code: str
) -> None:
    answer = post(as_admin, {"host": host.pk, "name": "tiny", "model": path} | change)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert not Endpoint.objects.exists()
