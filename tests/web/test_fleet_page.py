"""The Fleet page as a plain page: what it shows, to whom, and by how many queries."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import escape

import pytest
from django.utils import timezone

from models_app.accounts.roles import Role
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.fleet import fleet
from models_app.operations.fleet_sums import sums_of_all
from models_app.operations.measurements import SpeedMeasurement
from models_app.operations.models import Operation
from models_app.operations.reservations import Reservation
from models_app.probes.types import GpuState
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack, unpack
from models_app.web import screens
from models_app.web.fleet_page import HOSTS_A_PAGE
from tests.factories import GIB, AlertFactory, EndpointFactory, HostFactory, OperationFactory
from tests.web.fleet_rows import record, small_fleet

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


def html(client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.content.decode()


def words(client) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html(client)))


def test_it_shows_the_gpu_what_fills_it_and_what_is_free(as_member):
    small_fleet()
    page = words(as_member)
    assert "7.0 of 24.0 GiB" in page
    assert "llama3.1:8b" in page
    assert "8k context" in page
    assert "python3" in page
    # 24 total - 0.5 driver - 7 used - 2.4 headroom
    assert "14.1 GiB after headroom" in page


def test_it_says_who_loaded_a_model_and_how_long_it_stays(as_member):
    small_fleet(expires_at=timezone.now() + timedelta(seconds=192.5))
    page = words(as_member)
    assert "by ada" in page
    assert "unloads in 3:1" in page


def test_a_model_of_another_client_is_marked(as_member):
    small_fleet(loaded_by=None)
    assert "by another client" in words(as_member)


def test_a_model_partly_on_the_cpu_is_flagged_with_its_share(as_member):
    small_fleet(size_bytes=8 * GIB, vram_bytes=6 * GIB)
    assert "25 % on the CPU" in words(as_member)


def test_a_running_load_is_hatched_where_it_has_not_risen(as_member):
    rows = small_fleet()
    load = OperationFactory(endpoint=rows.endpoint, model_name="phi4:14b", state=Operation.State.RUNNING)
    Reservation.objects.create(operation=load, gpu=rows.gpu, reservation_bytes=8 * GIB, baseline_bytes=7 * GIB)
    page = html(as_member)
    assert 'class="pending"' in page
    assert 'class="hatch"' in page
    assert "8.0 GiB promised to running operations" in page


def test_a_lost_gpu_is_a_state_with_its_reason(as_member):
    rows = small_fleet()
    record(rows, 7 * GIB, state=GpuState.LOST, reason="It fell off the bus.")
    page = words(as_member)
    assert "The GPU is lost. It fell off the bus." in page


def test_a_host_without_a_gpu_shows_its_ram_and_why(as_member):
    rows = small_fleet()
    rows.gpu.delete()
    rows.host.gpu_problem = "No NVIDIA driver is installed."
    rows.host.save()
    page = words(as_member)
    assert "No GPU No NVIDIA driver is installed." in page
    assert "16.0 of 64.0 GiB" in page


def test_an_endpoint_that_is_offline_says_why_and_what_to_do(as_member):
    EndpointFactory(
        state=Endpoint.State.UNREACHABLE,
        state_message="The connection was refused.",
        state_hint="Set OLLAMA_HOST on that machine.",
    )
    page = words(as_member)
    assert "The connection was refused. Set OLLAMA_HOST on that machine." in page


def test_old_figures_are_called_old(as_member):
    small_fleet()
    taken = timezone.now() - timedelta(seconds=90)
    row = LatestSample.objects.get()
    sample, shares = unpack(row.payload)
    row.taken_at, row.payload = taken, pack(replace(sample, taken_at=taken), shares)
    row.save()
    assert "the last sample was taken 1 min ago" in words(as_member)


def test_nothing_found_teaches_what_to_do(as_admin):
    page = words(as_admin)
    assert "Nothing found yet" in page
    assert "OLLAMA_HOST" in page
    assert "make demo" in page


def test_members_get_no_button_and_no_form_that_changes_anything(as_member):
    small_fleet()
    OperationFactory(state=Operation.State.RUNNING)
    page = html(as_member)
    actions = re.findall(r'<form[^>]+action="([^"]+)"', page)
    assert actions == ["/logout/"]
    assert "hx-post" not in page
    assert "Unload" not in page


def test_admins_can_act_without_javascript(as_admin):
    small_fleet()
    page = html(as_admin)
    assert 'action="/operations/"' in page
    assert page.count('name="csrfmiddlewaretoken"') >= 3


def test_a_hostile_model_name_stays_text(as_admin):
    rows = small_fleet(name=HOSTILE)
    Residency.objects.update(requested_by=HOSTILE)
    rows.host.name = HOSTILE
    rows.host.save()
    OperationFactory(endpoint=rows.endpoint, model_name=HOSTILE, state="failed", error_message=HOSTILE)
    page = html(as_admin)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert escape(HOSTILE) in page


def test_a_model_keeps_its_colour_whatever_else_is_loaded(as_member):
    rows = small_fleet()
    before = next(fleet().hosts[0].models).hue
    small_fleet(name="aaa:1b")
    hues = {model.name: model.hue for host in fleet().hosts for model in host.models}
    assert hues[rows.loaded.name] == before


@pytest.mark.django_db
def test_the_number_of_queries_is_the_same_for_one_host_and_for_many(django_assert_num_queries):
    small_fleet()
    with django_assert_num_queries(11):
        fleet()
    for number in range(5):
        small_fleet(name=f"model-{number}:8b")
        HostFactory()
    with django_assert_num_queries(11):
        assert len(fleet().hosts) == 11


def test_alerts_stand_beside_the_hosts_the_worst_first(as_member):
    small_fleet()
    AlertFactory(severity="notice", sentence="A newer version is out.")
    AlertFactory(severity="critical", sentence="The GPU has fallen off the bus.")
    page = words(as_member)
    assert page.index("fallen off the bus") < page.index("newer version")


def test_a_measured_speed_stands_beside_the_model(as_member):
    rows = small_fleet()
    variant = rows.endpoint.installations.get(name=rows.loaded.name).variant
    for speed in (11.0, 41.2):
        SpeedMeasurement.objects.create(
            variant=variant, endpoint=rows.endpoint, gpu_share=1, token_count=64, tokens_per_second=speed
        )
    page = words(as_member)
    assert "41 tok/s" in page
    assert "11 tok/s" not in page


def test_many_hosts_come_in_pages_with_a_search_and_the_sums_of_all(as_member):
    small_fleet()
    HostFactory.create_batch(HOSTS_A_PAGE)
    every = fleet().sums
    first = html(as_member)
    assert first.count('<article class="host"') == HOSTS_A_PAGE
    assert f"{every.hosts} hosts" in first
    assert "Find a host" in first
    second = as_member.get("/", {"page": "2"}).content.decode()
    assert second.count('<article class="host"') == 1
    assert sums_of_all() == every


def test_a_search_finds_hosts_by_name_and_says_when_there_is_none(as_member):
    HostFactory.create_batch(HOSTS_A_PAGE + 1)
    HostFactory(name="borealis")
    found = as_member.get("/", {"q": "boreal"}).content.decode()
    assert found.count('<article class="host"') == 1
    assert "No hosts for this search" not in found
    assert "No hosts for this search" in as_member.get("/", {"q": "nobody"}).content.decode()


def test_nothing_is_offered_for_a_model_whose_endpoint_does_not_answer(as_admin):
    rows = small_fleet()
    assert "Unload" in words(as_admin)
    Endpoint.objects.filter(pk=rows.endpoint.pk).update(state=Endpoint.State.UNREACHABLE)
    page = words(as_admin)
    assert rows.loaded.name in page
    assert "Unload" not in page


def test_a_model_of_a_server_that_has_gone_is_said_to_have_been_there_and_holds_nothing(as_member):
    rows = small_fleet()
    assert "1 model loaded" in words(as_member)
    Endpoint.objects.filter(pk=rows.endpoint.pk).update(state=Endpoint.State.UNREACHABLE)
    LoadedModel.objects.update(last_seen_at=timezone.now().replace(hour=0, minute=7))
    record(rows, used_bytes=GIB, model_bytes=0)
    page = words(as_member)
    assert "last seen in memory at 00:07 UTC" in page
    assert "0 models loaded" in page
    assert 'title="llama3.1:8b: ' not in html(as_member)
    assert fleet().sums == sums_of_all()


def test_a_server_that_hangs_keeps_its_model_in_memory_as_its_process_shows(as_member):
    rows = small_fleet()
    Endpoint.objects.filter(pk=rows.endpoint.pk).update(state=Endpoint.State.UNREACHABLE)
    assert "last seen in memory" not in words(as_member)


def test_a_machine_without_a_server_says_what_comes_first(as_admin, as_member):
    rows = small_fleet()
    rows.endpoint.delete()
    page = words(as_admin)
    assert "nothing can be loaded here yet. Add an endpoint" in page
    assert "add an endpoint to a host first" in page
    assert "Pull a model" not in page
    assert "Add an endpoint" not in words(as_member)


def test_a_host_of_which_nothing_is_known_says_what_would_tell(as_admin):
    HostFactory(name="new-one")
    page = words(as_admin)
    assert "Nothing is known of it yet" in page
    assert "No GPU" not in page


def test_what_was_rendered_of_hosts_is_not_remembered_without_end(db, monkeypatch):
    monkeypatch.setattr(screens, "_host_memo", {(-number, Role.MEMBER): (None, "") for number in range(10)})
    monkeypatch.setattr(screens, "MOST_REMEMBERED", 10)
    host = small_fleet().host
    screens.host_fragments(fleet().hosts, Role.MEMBER)
    assert list(screens._host_memo) == [(host.pk, Role.MEMBER)]
