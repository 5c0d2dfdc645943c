"""The page of one host: what it shows of that host and of no other."""

from __future__ import annotations

import re

import pytest

from models_app import live
from models_app.agent_link.door import WATCHED
from models_app.inventory.models import ManagedServer
from models_app.operations.models import Operation
from tests.factories import GIB, AlertFactory, EndpointFactory, HostFactory, OperationFactory
from tests.web.fleet_rows import record, small_fleet


def words(client, host_id: int) -> str:
    answer = client.get(f"/hosts/{host_id}/")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_it_shows_gpus_models_memory_and_servers(as_member):
    rows = small_fleet()
    page = words(as_member, rows.host.pk)
    assert "7.0 of 24.0 GiB" in page
    assert "llama3.1:8b" in page
    assert "Available 48.0 GiB of 64.0 GiB" in page
    assert rows.endpoint.name in page


def test_who_opens_it_has_the_samples_come_at_once(as_member, monkeypatch, django_capture_on_commit_callbacks):
    told = []
    monkeypatch.setattr(live, "send_to", lambda _, message: told.append(message))
    host = HostFactory()
    with django_capture_on_commit_callbacks(execute=True):
        words(as_member, host.pk)
    assert told == [{"type": WATCHED, "host": host.pk}]


def test_alerts_and_operations_of_other_hosts_are_elsewhere(as_member):
    here, there = small_fleet(), small_fleet()
    for rows, name in ((here, "of this one"), (there, "of that one")):
        AlertFactory(host=rows.host, sentence=f"An alert {name}.")
        OperationFactory(endpoint=rows.endpoint, model_name=f"model {name}", state=Operation.State.SUCCEEDED)
    page = words(as_member, here.host.pk)
    assert "An alert of this one." in page
    assert "model of this one" in page
    assert "of that one" not in page


def test_a_managed_server_has_a_way_to_its_page(as_member):
    endpoint = EndpointFactory(mode="managed", url="managed://one")
    ManagedServer.objects.create(endpoint=endpoint, key="one", spec={})
    assert f"/servers/{endpoint.pk}/" in as_member.get(f"/hosts/{endpoint.host_id}/").content.decode()


def test_a_host_of_which_nothing_is_known_says_what_would_help(as_member):
    page = words(as_member, HostFactory().pk)
    assert "No sample has told more" in page
    assert "No server in the list" in page


def test_members_see_no_buttons_and_admins_do(as_member, as_admin):
    rows = small_fleet()
    address = f"/hosts/{rows.host.pk}/"
    assert "Unload" not in as_member.get(address).content.decode()
    assert "Unload" in as_admin.get(address).content.decode()


def test_the_fleet_and_the_hosts_lead_there(as_member):
    rows = small_fleet()
    for page in ("/", "/hosts/"):
        assert f'href="/hosts/{rows.host.pk}/"' in as_member.get(page).content.decode()


@pytest.mark.django_db
def test_a_visitor_is_asked_to_sign_in_and_an_unknown_host_is_not_found(client, as_member):
    assert client.get(f"/hosts/{HostFactory().pk}/").status_code == 302
    assert as_member.get("/hosts/424242/").status_code == 404


def test_the_number_of_queries_does_not_grow_with_other_hosts(as_member, django_assert_max_num_queries):
    rows = small_fleet()
    for _ in range(3):
        record(small_fleet(), 9 * GIB)
    with django_assert_max_num_queries(40):
        as_member.get(f"/hosts/{rows.host.pk}/")
