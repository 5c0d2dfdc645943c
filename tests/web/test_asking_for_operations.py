"""A click is ``POST /operations/``: what is asked, what is refused beside its field, what has to be confirmed."""

from __future__ import annotations

import json
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from models_app.inventory.models import LoadedModel, Residency
from models_app.operations.models import Operation
from models_app.telemetry.sources import register, unregister
from tests.factories import GIB, OperationFactory
from tests.web.fleet_rows import FixedProbe, SmallFleet, record, small_fleet

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def rows(db) -> SmallFleet:
    return small_fleet()


def asked(rows: SmallFleet, kind: str = "load", **fields: object) -> dict[str, object]:
    return {"kind": kind, "endpoint": rows.endpoint.pk, "model": "phi4:14b"} | fields


@pytest.mark.parametrize("address", ["/operations/", "/operations/1/cancel/", "/loaded-models/1/"])
def test_members_may_not_change_anything(as_member, rows, address):
    assert as_member.post(address, asked(rows)).status_code == 403
    assert not Operation.objects.exists()


@pytest.mark.parametrize("address", ["/load/", "/loaded-models/1/keep-alive/"])
def test_members_do_not_see_the_forms(as_member, rows, address):
    assert as_member.get(address).status_code == 403


def test_a_plain_form_makes_an_operation_and_leads_to_its_page(as_admin, rows):
    answer = as_admin.post("/operations/", asked(rows, context_length="4096"))
    operation = Operation.objects.get()
    assert answer.url == f"/operations/{operation.pk}/"
    assert operation.options == {"context_length": 4096}
    assert (operation.requested_by, operation.via) == ("ada", "web")
    assert "phi4:14b" in as_admin.get(answer.url).content.decode()


def test_a_script_gets_a_message_and_the_socket_brings_the_rest(as_admin, rows):
    answer = as_admin.post("/operations/", asked(rows), **HTMX)
    assert answer.status_code == 204
    assert "phi4:14b" in json.loads(answer["HX-Trigger"])["berth:done"]["words"]


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(as_admin, rows):
    answer = as_admin.post("/operations/", asked(rows, context_length="a lot", batch="512"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'id="page_context_length_error">The context length must be a whole number.' in page
    assert 'value="a lot"' in page
    assert 'value="512"' in page
    assert not Operation.objects.exists()


@pytest.mark.parametrize("endpoint", [{"endpoint": "gone"}, {"endpoint": "4711"}, {}])
def test_a_keep_alive_for_an_endpoint_that_is_gone_is_refused_with_a_sentence(as_admin, rows, endpoint):
    fields = {"kind": "set_keep_alive", "model": "phi4:14b", "keep_alive": "10m"} | endpoint
    answer = as_admin.post("/operations/", fields)
    assert answer.status_code == 422
    assert "this endpoint is not there any more" in answer.content.decode()


@pytest.fixture
def full_gpu(rows):
    register(rows.host, FixedProbe(record(rows, used_bytes=23 * GIB)))
    yield
    unregister(rows.host)


def test_a_load_that_does_not_fit_is_a_choice_of_its_own(as_admin, rows, full_gpu):
    answer = as_admin.post("/operations/", asked(rows))
    assert answer.status_code == 409
    assert 'name="load_anyway" value="1">Load anyway' in answer.content.decode()
    assert not Operation.objects.exists()
    assert as_admin.post("/operations/", asked(rows, load_anyway="1")).status_code == 302


def test_another_context_for_a_loaded_model_asks_before_it_reloads(as_admin, rows):
    answer = as_admin.post("/operations/", asked(rows, model="llama3.1:8b", context_length="2048"))
    assert answer.status_code == 409
    assert 'name="reload" value="1"' in answer.content.decode()


def test_ones_own_model_is_unloaded_without_a_question(as_admin, rows):
    assert as_admin.post("/operations/", asked(rows, "unload", model="llama3.1:8b")).status_code == 302


@pytest.mark.parametrize("owner", ["max", None])
def test_unloading_what_someone_else_loaded_asks_first(as_admin, rows, owner):
    Residency.objects.all().delete() if owner is None else Residency.objects.update(requested_by=owner)
    unload = asked(rows, "unload", model="llama3.1:8b")
    answer = as_admin.post("/operations/", unload, **HTMX)
    assert answer.status_code == 409
    assert answer["HX-Retarget"] == "#dialog"
    assert (owner or "another client") in answer.content.decode()
    assert 'name="confirmed" value="1"' in answer.content.decode()
    assert as_admin.post("/operations/", unload | {"confirmed": "1"}, **HTMX).status_code == 204


def test_a_swap_unloads_what_is_ticked_first(as_admin, rows):
    as_admin.post("/operations/", asked(rows, "swap", unload=[rows.loaded.pk]))
    assert Operation.objects.get().unload == ["llama3.1:8b"]


def test_the_preview_follows_what_is_chosen(as_admin, rows):
    page = as_admin.get("/load/", asked(rows, context_length="8192"), HTTP_HX_REQUEST="true", HTTP_HX_TARGET="load-panel")
    text = page.content.decode()
    assert text.lstrip().startswith('<section class="card" id="load-panel"')
    assert "KV cache, 8k context" in text


def test_only_options_that_the_endpoint_can_honour_are_offered(as_admin, rows):
    page = as_admin.get("/load/", asked(rows)).content.decode()
    assert 'name="context_length"' in page
    assert 'name="cache_type_k"' not in page


def test_a_keep_alive_that_is_no_time_is_refused_in_the_dialog(as_admin, rows):
    change = asked(rows, "set_keep_alive", model="llama3.1:8b", keep_alive="banana")
    answer = as_admin.post("/operations/", change, **HTMX)
    assert answer.status_code == 422
    assert 'value="banana"' in answer.content.decode()


@pytest.mark.parametrize("kind", ["explode", ""])
def test_an_unknown_kind_is_a_sentence(as_admin, rows, kind):
    answer = as_admin.post("/operations/", asked(rows, kind))
    assert answer.status_code == 422
    assert "no operation of the kind" in answer.content.decode()


@pytest.mark.parametrize("endpoint", ["999", "x", "", "9" * 40])
def test_an_endpoint_that_is_gone_is_a_sentence(as_admin, rows, endpoint):
    answer = as_admin.post("/operations/", asked(rows) | {"endpoint": endpoint})
    assert answer.status_code == 422
    assert not Operation.objects.exists()


@pytest.mark.parametrize("model", ["", "../../etc/passwd", "a\x00b", "x" * 300, "<script>alert(1)</script>"])
def test_an_impossible_model_is_a_sentence(as_admin, rows, model):
    answer = as_admin.post("/operations/", asked(rows) | {"model": model})
    assert answer.status_code in (409, 422) if model else answer.status_code in (302, 409, 422)
    assert "<script>alert" not in answer.content.decode()


def test_a_queued_operation_can_be_cancelled(as_admin, rows):
    operation = OperationFactory(endpoint=rows.endpoint)
    as_admin.post(f"/operations/{operation.pk}/cancel/", **HTMX)
    operation.refresh_from_db()
    assert operation.state == Operation.State.CANCELLED


def test_pinning_needs_no_operation(as_admin, rows):
    assert as_admin.post(f"/loaded-models/{rows.loaded.pk}/", {"pinned": "on"}, **HTMX).status_code == 204
    assert Residency.objects.get().pinned
    assert not Operation.objects.exists()


def test_a_pin_tells_of_a_server_that_unloads_the_model_all_the_same(as_admin, rows):
    def pinned() -> str:
        return as_admin.post(f"/loaded-models/{rows.loaded.pk}/", {"pinned": "on"}, **HTMX)["HX-Trigger"]

    assert "keep-alive" not in pinned()
    LoadedModel.objects.update(expires_at=timezone.now())
    assert "its server still unloads it when idle" in pinned()


def test_a_form_without_a_csrf_token_changes_nothing(rows, admin: User):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)
    assert strict.post("/operations/", asked(rows)).status_code == 403
    assert not Operation.objects.exists()


def test_the_form_of_a_keep_alive_advises_a_time_and_fills_it_in(as_admin, rows):
    address = f"/loaded-models/{rows.loaded.pk}/keep-alive/"
    assert "is advised" not in as_admin.get(address).content.decode()
    page = unescape(as_admin.get(address, {"requests_per_hour": "6", "keep_alive": "7m"}).content.decode())
    assert "<b>20m</b> is advised" in page
    assert 'value="7m"' in page
    assert f'href="{address}?keep_alive=20m&requests_per_hour=6"' in page
    part = as_admin.get(address, {"requests_per_hour": "6"}, HTTP_HX_REQUEST="true", HTTP_HX_TARGET="keep-alive-advice")
    assert "<form" not in part.content.decode()
    assert "HX-Retarget" not in part


@pytest.mark.parametrize("endpoint", ["9" * 5000, "9" * 30, "²", "-1", ""])
def test_an_endpoint_that_no_row_could_be_is_refused(as_admin, rows, endpoint):
    answer = as_admin.post("/operations/", asked(rows) | {"endpoint": endpoint})
    assert answer.status_code == 422
    assert "this endpoint is not there any more" in unescape(answer.content.decode())


def test_the_question_names_what_it_is_about(as_admin, rows):
    Residency.objects.all().delete()
    answer = as_admin.post("/operations/", asked(rows, "unload") | {"model": rows.loaded.name}, **HTMX)
    assert answer.status_code == 409
    assert "Unload llama3.1:8b?" in answer.content.decode()
