"""Adding, changing and removing the endpoints of a host."""

from __future__ import annotations

import pytest
from django.urls import reverse

from models_app.inventory.models import Endpoint
from tests.factories import EndpointFactory, HostFactory, LoadedModelFactory, OperationFactory


def edit(client, endpoint: Endpoint, **typed: str):
    data = {"endpoint_name": endpoint.name, "url": endpoint.url, "api_key": ""} | typed
    return client.post(reverse("host_endpoint_edit", args=[endpoint.pk]), data)


@pytest.fixture
def watched(served, router) -> Endpoint:
    """A llama-server that answers to its key."""
    address = served(router)
    return EndpointFactory(name="big", url=address, kind="llama_server", mode="router", api_key="the right key")


def test_members_are_refused(as_member, db):
    endpoint = EndpointFactory()
    for name in ("host_endpoint_edit", "host_endpoint_remove", "host_endpoint_look"):
        assert as_member.post(reverse(name, args=[endpoint.pk])).status_code == 403


def test_an_endpoint_is_added_to_a_host(as_admin, served, ollama):
    host = HostFactory(name="atlas")
    address = reverse("host_endpoint_add", args=[host.pk])
    assert as_admin.post(address, {"url": served(ollama), "endpoint_name": "second"}).url == reverse("hosts")
    endpoint = Endpoint.objects.get()
    assert (endpoint.host, endpoint.name, endpoint.installations.count()) == (host, "second", 2)


def test_a_test_before_adding_adds_nothing(as_admin, served, ollama):
    host = HostFactory()
    answer = as_admin.post(reverse("host_endpoint_add", args=[host.pk]), {"url": served(ollama), "test": "1"})
    assert "It answers:" in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_another_program_than_the_one_chosen_is_refused(as_admin, served, ollama):
    host = HostFactory()
    data = {"url": served(ollama), "kind": "llama_server"}
    answer = as_admin.post(reverse("host_endpoint_add", args=[host.pk]), data)
    assert answer.status_code == 422
    assert "not as llama-server" in answer.content.decode()


def test_the_test_of_a_known_endpoint_uses_its_stored_key(as_admin, watched):
    answer = edit(as_admin, watched, test="1")
    assert "It answers:" in answer.content.decode()


def test_a_stored_key_is_not_sent_to_another_address(as_admin, watched, nobody_there):
    elsewhere = watched.url.replace("127.0.0.1", "127.0.0.2")
    assert "It answers:" not in edit(as_admin, watched, url=elsewhere, test="1").content.decode()
    refused = edit(as_admin, watched, url=nobody_there)
    assert "Enter the API key again" in refused.content.decode()


def test_a_rename_keeps_the_key(as_admin, watched):
    assert edit(as_admin, watched, endpoint_name="bigger").url == reverse("hosts")
    watched.refresh_from_db()
    assert (watched.name, watched.api_key) == ("bigger", "the right key")


def test_a_wrong_new_key_changes_nothing(as_admin, watched):
    answer = edit(as_admin, watched, api_key="wrong")
    assert answer.status_code == 422
    watched.refresh_from_db()
    assert watched.api_key == "the right key"


def test_a_key_can_be_forgotten(as_admin, served, ollama):
    endpoint = EndpointFactory(url=served(ollama), api_key="no longer needed")
    edit(as_admin, endpoint, forget_key="on")
    endpoint.refresh_from_db()
    assert endpoint.api_key == ""


@pytest.mark.parametrize("name", ["", "x" * 81, "Taken"])
def test_a_bad_name_comes_back_with_its_reason(as_admin, watched, name):
    EndpointFactory(name="taken")
    answer = edit(as_admin, watched, endpoint_name=name)
    assert answer.status_code == 422
    assert 'class="error"' in answer.content.decode()
    watched.refresh_from_db()
    assert watched.name == "big"


def test_looking_again_brings_an_endpoint_back(as_admin, watched):
    Endpoint.objects.filter(pk=watched.pk).update(state="unreachable", state_message="It was away.")
    shown = as_admin.post(reverse("host_endpoint_look", args=[watched.pk]), follow=True).content.decode()
    assert "big is up to date." in shown
    assert "It was away." not in shown


def test_looking_at_one_that_is_away_says_so(as_admin, nobody_there):
    endpoint = EndpointFactory(name="gone", url=nobody_there)
    shown = as_admin.post(reverse("host_endpoint_look", args=[endpoint.pk]), follow=True).content.decode()
    assert "gone did not answer" in shown


def test_removing_asks_first_says_what_is_lost_and_leaves_the_host(as_admin, watched):
    LoadedModelFactory(endpoint=watched)
    address = reverse("host_endpoint_remove", args=[watched.pk])
    shown = as_admin.get(address).content.decode()
    assert "1 entry of models in memory" in shown
    assert "goes on running" in shown
    assert as_admin.post(address, {"confirmed": "1"}).url == reverse("hosts")
    assert not Endpoint.objects.exists()
    assert watched.host in type(watched.host).objects.all()


def test_a_server_that_does_not_answer_is_not_said_to_go_on_running(as_admin, db):
    gone = EndpointFactory(state=Endpoint.State.UNREACHABLE)
    shown = as_admin.get(reverse("host_endpoint_remove", args=[gone.pk])).content.decode()
    assert "It does not answer now." in shown
    assert "goes on running" not in shown


def test_an_endpoint_with_an_operation_at_work_stays(as_admin, watched):
    OperationFactory(endpoint=watched, state="queued")
    answer = as_admin.post(reverse("host_endpoint_remove", args=[watched.pk]), {"confirmed": "1"})
    assert answer.status_code == 409
    assert "Wait for its end, or cancel it." in answer.content.decode()


def test_an_unknown_endpoint_is_not_found(as_admin):
    for name in ("host_endpoint_edit", "host_endpoint_remove"):
        assert as_admin.get(reverse(name, args=[4711])).status_code == 404


def typed(url: str, **more: str) -> dict[str, str]:
    return {"url": url, "endpoint_name": "big", "api_key": ""} | more


def test_without_javascript_the_key_of_a_test_is_kept_until_the_endpoint_is_added(as_admin, served, router):
    form, url = reverse("host_endpoint_add", args=[HostFactory().pk]), served(router)
    page = as_admin.post(form, typed(url, api_key="the right key", test="1")).content.decode()
    assert "It answers:" in page
    assert "leave this empty to use it" in page
    assert "the right key" not in page
    assert as_admin.post(form, typed(url)).url == reverse("hosts")
    assert Endpoint.objects.get().api_key == "the right key"
    assert "kept_key" not in as_admin.session


def test_the_key_of_a_test_is_not_used_for_another_address_or_form(as_admin, served, router):
    host, url = HostFactory(), served(router)
    form = reverse("host_endpoint_add", args=[host.pk])
    as_admin.post(form, typed(url, api_key="the right key", test="1"))
    other = url.replace("127.0.0.1", "127.0.0.2")
    assert "It answers:" not in as_admin.post(form, typed(other, test="1")).content.decode()
    another = reverse("host_endpoint_add", args=[HostFactory().pk])
    assert as_admin.post(another, typed(url)).status_code == 422


def test_the_key_of_a_test_is_gone_when_the_form_is_opened_anew(as_admin, served, router):
    form, url = reverse("host_endpoint_add", args=[HostFactory().pk]), served(router)
    as_admin.post(form, typed(url, api_key="the right key", test="1"))
    as_admin.get(form)
    assert as_admin.post(form, typed(url)).status_code == 422


def test_with_javascript_nothing_is_kept(as_admin, served, router):
    form, url = reverse("host_endpoint_add", args=[HostFactory().pk]), served(router)
    as_admin.post(form, typed(url, api_key="the right key", test="1"), HTTP_HX_REQUEST="true")
    assert "kept_key" not in as_admin.session
