"""The list of operations, and the page of one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.web.advice import next_step
from models_app.web.views.operation_pages import same_request
from tests.factories import GIB, EndpointFactory, GpuFactory, InstallationFactory, LoadedModelFactory, OperationFactory

OPERATIONS = "/operations/"


def results(client, **query: str) -> str:
    answer = client.get(OPERATIONS, query)
    assert answer.status_code == 200
    return answer.content.decode().split('id="results"')[1]


def page(client, operation: Operation) -> str:
    answer = client.get(reverse("operation", args=[operation.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def ended(state: str, **columns: object) -> Operation:
    began = timezone.now() - timedelta(minutes=5)
    return OperationFactory(state=state, started_at=began, finished_at=began + timedelta(seconds=4), **columns)


@pytest.fixture
def done(db) -> Operation:
    operation = ended(
        "succeeded",
        model_name="llama3.1:8b",
        before_bytes=GIB,
        after_bytes=7 * GIB,
        verified_by="process",
        estimate={"needed_bytes": 6 * GIB},
        options={"context_length": 8192, "keep_alive_seconds": -1, "flash_attention": False},
    )
    OperationStep.objects.create(
        operation=operation,
        position=0,
        action="load",
        model_name="llama3.1:8b",
        state="done",
        started_at=operation.started_at,
        finished_at=operation.finished_at,
        before_bytes=GIB,
        after_bytes=7 * GIB,
    )
    OperationLog.objects.create(operation=operation, text="VRAM rose by 6.0 GiB.")
    return operation


def test_visitors_are_sent_to_the_login(client, done):
    assert client.get(OPERATIONS).url.startswith(reverse("login"))
    assert client.get(reverse("operation", args=[done.pk])).url.startswith(reverse("login"))


def test_members_see_everything_and_get_no_button(as_member, done):
    running = OperationFactory(state="running")
    assert "llama3.1:8b" in results(as_member)
    for operation in (done, running):
        assert "<button" not in page(as_member, operation).split('id="operation-page"')[1].split("<dialog")[0]
    assert as_member.post(reverse("operation_cancel", args=[running.pk])).status_code == 403


def test_the_list_is_filtered_by_state_kind_and_endpoint(as_member, done):
    other = ended("failed", kind="pull", model_name="phi4:14b", error_message="No space left.")
    assert "phi4:14b" not in results(as_member, state="succeeded")
    assert "phi4:14b" not in results(as_member, kind="load")
    assert "llama3.1:8b" not in results(as_member, endpoint_id=str(other.endpoint_id))
    assert "No space left." in results(as_member, q="phi4")


def test_the_list_is_newest_first_and_paged(as_member, done):
    ended("succeeded", model_name="newer:1b")
    shown = results(as_member)
    assert shown.index("newer:1b") < shown.index("llama3.1:8b")
    assert "newer:1b" not in results(as_member, per_page="1", page="2")


def test_an_empty_list_teaches_and_a_fruitless_search_says_so(as_admin, db):
    assert "Nothing has been asked for yet" in results(as_admin)
    assert "Nothing matches" in results(as_admin, q="zzz")


def test_the_number_of_queries_does_not_grow_with_the_list(as_admin, done, django_assert_max_num_queries):
    for _ in range(30):
        ended("succeeded")
    with django_assert_max_num_queries(16):
        results(as_admin)


def test_a_success_is_told_in_figures_words_and_lines(as_member, done):
    shown = page(as_member, done)
    for words in (
        "Loaded 6.0 GiB in 4.0 s",
        "Measured on the model&#x27;s own process.",
        "+6.0 GiB",
        "VRAM 1.0 GiB → 7.0 GiB",
        "VRAM rose by 6.0 GiB.",
        "8,192",
        "for ever",
        "asked for by ada",
    ):
        assert words in shown


def test_what_moves_no_memory_speaks_of_none(as_member, db):
    shown = page(as_member, ended("succeeded", kind="delete", verified_by="endpoint"))
    assert "Succeeded in 4.0 s." in shown
    assert "telemetry" not in shown
    assert "VRAM" not in shown


def test_a_failure_says_why_and_what_to_do_next(as_admin, db):
    failed = ended("failed", error_code="memory_held", error_message="Only 0.1 GiB of 6.0 GiB came back.")
    shown = page(as_admin, failed)
    assert "Only 0.1 GiB of 6.0 GiB came back." in shown
    assert "What to do next:" in shown
    assert "Restarting the server frees it" in shown
    assert "Try again" in shown


def test_an_unknown_failure_makes_no_advice_up(as_admin, db):
    assert next_step("something_new") == ""
    assert "What to do next" not in page(as_admin, ended("failed", error_code="something_new", error_message="Hm."))


def test_a_running_operation_shows_how_far_it_is_and_can_be_cancelled(as_admin, db):
    running = OperationFactory(state="running", progress_bytes=4 * GIB, progress_total_bytes=10 * GIB, phase="loading")
    shown = page(as_admin, running)
    assert "VRAM risen 4.0 GiB of about 10.0 GiB" in shown
    assert f'value="{4 * GIB}" max="{10 * GIB}"' in shown
    answer = as_admin.post(reverse("operation_cancel", args=[running.pk]), follow=True)
    assert answer.status_code == 200
    assert "Cancelling" in answer.content.decode()
    running.refresh_from_db()
    assert running.cancel_requested_at


def test_a_load_into_host_ram_tells_what_has_risen_there(as_member):
    OperationFactory(state="running", progress_bytes=4 * GIB, estimate={"devices": {"": 10 * GIB}})
    assert "· RAM risen 4.0 GiB" in as_member.get("/operations/").content.decode()


def test_a_waiting_operation_names_what_it_waits_for(as_member, db):
    first = OperationFactory(state="running")
    waiting = OperationFactory(state="queued", waiting_for=first)
    assert reverse("operation", args=[first.pk]) in page(as_member, waiting)


def test_trying_again_asks_for_the_same(as_admin, db):
    endpoint = EndpointFactory()
    InstallationFactory(endpoint=endpoint, name="llama3.1:8b")
    gpu = GpuFactory(host=endpoint.host)
    options = {"context_length": 4096, "gpu": gpu.uuid, "keep_alive_seconds": 600, "pinned": True}
    failed = ended("failed", endpoint=endpoint, model_name="llama3.1:8b", options=options, error_code="endpoint_busy")
    answer = as_admin.post(OPERATIONS, dict(same_request(failed)))
    again = Operation.objects.first()
    assert answer.url == reverse("operation", args=[again.pk])
    assert again.pk != failed.pk
    assert (again.kind, again.endpoint, again.model_name, again.options) == ("load", endpoint, "llama3.1:8b", options)


def test_a_swap_again_takes_out_what_is_still_loaded(db):
    endpoint = EndpointFactory()
    old = LoadedModelFactory(endpoint=endpoint, name="phi4:14b")
    swap = ended("failed", kind="swap", endpoint=endpoint, model_name="llama3.1:8b", unload=["phi4:14b", "gone:1b"])
    assert ("unload", old.pk) in same_request(swap)
    assert [name for name, _ in same_request(swap)].count("unload") == 1


def test_an_unknown_operation_is_not_found(as_admin):
    assert as_admin.get(reverse("operation", args=[4711])).status_code == 404
    assert as_admin.post(reverse("operation_cancel", args=[4711])).status_code == 404


def test_an_endpoints_words_are_never_taken_for_markup(as_member, db):
    failed = ended("failed", error_message="<img src=x onerror=alert(1)>")
    assert "<img src=x" not in page(as_member, failed)


def test_a_pull_of_an_unknown_name_is_not_told_to_pull_it(as_member, db):
    shown = page(as_member, ended("failed", kind="pull", error_code="model_not_found", error_message="No such model."))
    assert "What to do next" not in shown
    assert "What to do next" in page(as_member, ended("failed", error_code="model_not_found"))
