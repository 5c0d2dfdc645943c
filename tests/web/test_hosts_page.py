"""The page of hosts, and adding, changing and removing one."""

from __future__ import annotations

import pytest
from django.urls import reverse

from controlpanel.encrypted import Unreadable
from models_app.accounts.models import AuditEntry
from models_app.inventory.models import Endpoint, Host
from models_app.simulation.faults import Fault
from tests.factories import EndpointFactory, GpuFactory, HostFactory, InstallationFactory, OperationFactory

HOSTS, ADD = "/hosts/", "/hosts/add/"
FORBIDDEN = ["http://169.254.169.254/latest", "http://0xa9fea9fe:8080", "http://[::ffff:169.254.169.254]:8080", "file:///x"]


def page(client, address: str = HOSTS) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def entry(url: str, **typed: str) -> dict[str, str]:
    return {"name": "gpu-1", "tags": "production, shared", "url": url, "kind": "", "api_key": "", **typed}


def report(client, url: str, **typed: str) -> str:
    """What *Test connection* found."""
    shown = client.post(ADD, entry(url, test="1", **typed)).content.decode()
    return shown.split('id="connection"')[1].split('class="row answers"')[0]


def test_visitors_are_sent_to_the_login(client, db):
    assert client.get(HOSTS).url.startswith(reverse("login"))


def test_members_see_hosts_and_get_no_button(as_member, db):
    host = HostFactory(name="atlas", tags=["production"])
    GpuFactory(host=host, state="wedged", state_reason="no answer for 12 s")
    EndpointFactory(host=host, name="ollama", version="0.33.0", warnings=["CVE-2026-1: update."])
    shown = page(as_member)
    for words in ("atlas", "production", "RTX 4090", "24.0 GiB", "no answer for 12 s", "Ollama 0.33.0", "CVE-2026-1"):
        assert words in shown
    for button in ("Add a host", "Look again", "Remove", "Edit"):
        assert button not in shown


def test_members_are_refused_every_change(as_member, db):
    host = HostFactory()
    for name in ("host_edit", "host_remove", "host_look", "host_endpoint_add"):
        assert as_member.post(reverse(name, args=[host.pk])).status_code == 403
    assert as_member.post(ADD, entry("http://127.0.0.1:11434")).status_code == 403
    assert Host.objects.count() == 1


def test_an_endpoint_that_is_away_says_why_and_what_to_do(as_member, db):
    EndpointFactory(state="unreachable", state_message="Nothing listens there.", state_hint="Set OLLAMA_HOST=0.0.0.0.")
    shown = page(as_member)
    assert "Unreachable." in shown
    assert "Set OLLAMA_HOST=0.0.0.0." in shown


def test_the_empty_page_teaches(as_admin, as_member):
    assert "OLLAMA_HOST=0.0.0.0" in page(as_admin)
    assert ADD in page(as_admin)
    assert "An admin can add a host." in page(as_member)


def test_a_key_is_never_shown(as_admin, db):
    endpoint = EndpointFactory(api_key="sekrit")
    assert "with a key" in page(as_admin)
    assert "sekrit" not in page(as_admin) + page(as_admin, reverse("host_endpoint_edit", args=[endpoint.pk]))


def test_the_number_of_queries_does_not_grow_with_the_hosts(as_admin, django_assert_max_num_queries):
    for _ in range(20):
        host = HostFactory()
        GpuFactory(host=host)
        EndpointFactory(host=host)
    with django_assert_max_num_queries(14):
        page(as_admin)


def test_testing_a_connection_tells_what_answers_and_adds_nothing(as_admin, served, ollama):
    shown = as_admin.post(ADD, entry(served(ollama), test="1")).content.decode()
    for words in ("It answers:", "Ollama 0.33.0", "<dt>Models installed</dt><dd>2</dd>", "download", "unload"):
        assert words in shown
    assert 'value="gpu-1"' in shown
    assert not Host.objects.exists()


def test_an_address_of_the_panels_own_machine_is_better_added_to_its_host(as_admin, served, ollama):
    own = HostFactory(name="desk", is_local=True)
    address = served(ollama)
    assert reverse("host_endpoint_add", args=[own.pk]) in report(as_admin, address)
    added = as_admin.post(ADD, entry(address), follow=True)
    assert "add the endpoint to desk instead" in added.content.decode()
    assert Endpoint.objects.get().host.name == "gpu-1"


def test_a_refused_connection_says_what_to_do(as_admin, nobody_there):
    found = report(as_admin, nobody_there)
    assert 'role="alert"' in found
    assert "server on this machine, or correct the port" in found


def test_an_address_may_be_typed_without_its_scheme(as_admin, served, ollama):
    shown = as_admin.post(ADD, entry(served(ollama).removeprefix("http://"), test="1")).content.decode()
    assert "It answers:" in shown


def test_testing_without_an_address_asks_for_one(as_admin, db):
    assert "Enter an address." in report(as_admin, "")


def test_a_wrong_key_is_called_so(as_admin, served, router):
    address = served(router)
    assert "key" in report(as_admin, address, api_key="wrong").lower()
    right = report(as_admin, address, api_key="the right key")
    assert "It answers:" in right
    assert "the right key" not in right


def test_a_key_that_cannot_be_read_is_asked_for_again(as_admin, served, router):
    as_admin.post(ADD, entry(served(router), api_key="the right key"))
    endpoint = Endpoint.objects.get()
    Endpoint.objects.update(api_key=Unreadable("gAAAA what another secret key had encrypted"))
    as_admin.post(reverse("host_endpoint_look", args=[endpoint.pk]))
    shown = as_admin.get(HOSTS).content.decode()
    assert "with a key that cannot be read: enter it again" in shown
    assert "The stored API key cannot be read: the panel has another secret key now. Enter the key again" in shown
    edit = reverse("host_endpoint_edit", args=[endpoint.pk])
    assert "Type it again." in as_admin.get(edit).content.decode()
    form = {"endpoint_name": endpoint.name, "url": endpoint.url}
    assert "cannot be read" in as_admin.post(edit, form | {"test": "1"}).content.decode()
    as_admin.post(edit, form | {"api_key": "the right key"})
    endpoint.refresh_from_db()
    assert (endpoint.api_key, endpoint.state) == ("the right key", "online")


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_forbidden_address_is_refused_by_test_and_by_add(as_admin, db, url):
    tested = as_admin.post(ADD, entry(url, test="1"))
    assert 'role="alert"' in tested.content.decode()
    added = as_admin.post(ADD, entry(url))
    assert added.status_code == 422
    assert url in added.content.decode()
    assert not Host.objects.exists()


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.HUGE_BODY, Fault.REDIRECT])
def test_a_server_that_answers_nonsense_is_explained(as_admin, served, ollama, fault):
    ollama.faults.add(fault)
    found = report(as_admin, served(ollama))
    assert 'role="alert"' in found
    assert "It answers:" not in found


def test_a_host_is_added_with_its_endpoint_and_its_models(as_admin, served, ollama):
    answer = as_admin.post(ADD, entry(served(ollama)), follow=True)
    endpoint = Endpoint.objects.get()
    assert "gpu-1 is added" in answer.content.decode()
    assert (endpoint.host.name, endpoint.host.tags) == ("gpu-1", ["production", "shared"])
    assert (endpoint.state, endpoint.version) == ("online", "0.33.0")
    assert sorted(endpoint.installations.values_list("name", flat=True)) == ["llama3.2:3b", "nomic-embed-text:latest"]


def test_the_audit_trail_knows_that_there_is_a_key_but_not_which(as_admin, served, router):
    as_admin.post(ADD, entry(served(router), api_key="the right key"))
    assert Endpoint.objects.get().api_key == "the right key"
    assert not any("the right key" in str(entry.__dict__) for entry in AuditEntry.objects.all())


def test_a_host_whose_server_does_not_answer_is_not_added(as_admin, nobody_there):
    answer = as_admin.post(ADD, entry(nobody_there))
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="gpu-1"' in shown
    assert 'value="production, shared"' in shown
    assert not Host.objects.exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "GPU-9", "a\x07b"])
def test_a_bad_name_adds_nothing(as_admin, served, ollama, name):
    HostFactory(name="gpu-9")
    assert as_admin.post(ADD, entry(served(ollama), name=name)).status_code == 422
    assert Host.objects.count() == 1
    assert not Endpoint.objects.exists()


def test_an_endpoint_name_that_is_taken_adds_no_host(as_admin, served, ollama):
    EndpointFactory(name="taken")
    answer = as_admin.post(ADD, entry(served(ollama), endpoint_name="Taken"))
    assert answer.context["form"].errors.keys() == {"endpoint_name"}
    assert not Host.objects.filter(name="gpu-1").exists()


def test_an_address_that_is_in_the_list_already_adds_no_second_host(as_admin, served, ollama):
    address = served(ollama)
    as_admin.post(ADD, entry(address))
    answer = as_admin.post(ADD, entry(address, name="gpu-2"))
    assert "already in the list" in answer.content.decode()
    assert Host.objects.count() == 1


def test_a_host_is_renamed_and_retagged(as_admin, db):
    host = HostFactory(name="old")
    assert as_admin.post(reverse("host_edit", args=[host.pk]), {"name": "new", "tags": "a,, b "}).url == HOSTS
    host.refresh_from_db()
    assert (host.name, host.tags) == ("new", ["a", "b"])


def test_a_name_that_is_taken_comes_back_with_its_reason(as_admin, db):
    HostFactory(name="atlas")
    host = HostFactory(name="old")
    answer = as_admin.post(reverse("host_edit", args=[host.pk]), {"name": "Atlas", "tags": ""})
    assert answer.status_code == 422
    assert "Another host is called “Atlas” already." in answer.content.decode()
    assert 'value="Atlas"' in answer.content.decode()


def test_removing_asks_first_and_says_what_is_lost(as_admin, db):
    host = HostFactory(name="atlas")
    endpoint = EndpointFactory(host=host)
    InstallationFactory(endpoint=endpoint)
    OperationFactory(endpoint=endpoint, state="succeeded")
    shown = page(as_admin, reverse("host_remove", args=[host.pk]))
    assert "Remove atlas?" in shown
    assert "1 installed model." in shown
    assert "1 operation with steps and log" in shown
    assert as_admin.post(reverse("host_remove", args=[host.pk]), {"confirmed": "1"}).url == HOSTS
    assert not Host.objects.exists()


def test_a_host_with_an_operation_at_work_stays(as_admin, db):
    endpoint = EndpointFactory()
    OperationFactory(endpoint=endpoint, state="running")
    answer = as_admin.post(reverse("host_remove", args=[endpoint.host_id]), {"confirmed": "1"})
    assert answer.status_code == 409
    assert "is at work on it" in answer.content.decode()
    assert Host.objects.exists()


def test_the_panels_own_host_stays_and_offers_no_removal(as_admin, db):
    host = HostFactory(is_local=True)
    assert reverse("host_remove", args=[host.pk]) not in page(as_admin)
    assert as_admin.post(reverse("host_remove", args=[host.pk]), {"confirmed": "1"}).status_code == 409
    assert Host.objects.exists()


def test_looking_again_reads_what_each_endpoint_has(as_admin, served, ollama, nobody_there):
    endpoint = EndpointFactory(url=served(ollama), version="0.1.0")
    silent = EndpointFactory(host=endpoint.host, name="silent", url=nobody_there)
    shown = as_admin.post(reverse("host_look", args=[endpoint.host_id]), follow=True).content.decode()
    endpoint.refresh_from_db()
    silent.refresh_from_db()
    assert "silent did not answer" in shown
    assert (endpoint.version, endpoint.installations.count()) == ("0.33.0", 2)
    assert silent.state == "unreachable"


def test_an_unknown_host_is_not_found(as_admin):
    for name in ("host_edit", "host_remove", "host_endpoint_add"):
        assert as_admin.get(reverse(name, args=[4711])).status_code == 404
    assert as_admin.post(reverse("host_look", args=[4711])).status_code == 404


def test_many_hosts_come_in_pages_with_a_search(as_member):
    HostFactory.create_batch(21)
    HostFactory(name="borealis")
    assert as_member.get("/hosts/").content.decode().count('<article class="host"') == 20
    assert as_member.get("/hosts/", {"page": "2"}).content.decode().count('<article class="host"') == 2
    assert as_member.get("/hosts/", {"q": "boreal"}).content.decode().count('<article class="host"') == 1
    assert "No hosts for this search" in as_member.get("/hosts/", {"q": "nobody"}).content.decode()


def test_an_announced_endpoint_that_was_removed_is_brought_back_by_admins(as_member, as_admin, db):
    host = HostFactory(name="atlas", dismissed_names={"ollama": "ollama"})
    back = reverse("host_bring_back", args=[host.pk])
    assert "removed here" in page(as_member)
    assert back not in page(as_member)
    assert as_member.post(back, {"name": "ollama"}).status_code == 403
    assert back in page(as_admin)
    assert "ollama on atlas is listed again" in as_admin.post(back, {"name": "ollama"}, follow=True).content.decode()
    assert Endpoint.objects.get().kind == "ollama"
    assert "was removed" in as_admin.post(back, {"name": "ollama"}, follow=True).content.decode()
