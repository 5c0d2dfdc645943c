"""Operations in words: where they work, and on which GPU."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.operations.models import OperationStep
from models_app.web.stories import MOST_ACTIVE, recent_stories, stories
from tests.factories import GIB, EndpointFactory, GpuFactory, HostFactory, OperationFactory

pytestmark = pytest.mark.django_db


def test_a_load_says_on_which_gpus_it_was_admitted():
    host = HostFactory()
    gpus = [GpuFactory(host=host, index=index) for index in range(3)]
    row = OperationFactory(endpoint=EndpointFactory(host=host), estimate={"devices": {gpu.uuid: 1 for gpu in gpus[:2]}})
    assert stories([row])[0].gpus == "GPU 0 and GPU 1"


def test_on_a_machine_with_one_gpu_it_can_only_be_that_one():
    host = HostFactory()
    GpuFactory(host=host)
    row = OperationFactory(endpoint=EndpointFactory(host=host), kind="unload")
    assert stories([row])[0].gpus == "GPU 0"


@pytest.mark.parametrize(("kind", "gpu_count"), [("unload", 2), ("load", 0), ("pull", 1)])
def test_a_gpu_that_is_not_known_or_not_concerned_is_not_named(kind, gpu_count):
    host = HostFactory()
    for index in range(gpu_count):
        GpuFactory(host=host, index=index)
    assert stories([OperationFactory(endpoint=EndpointFactory(host=host), kind=kind)])[0].gpus == ""


def test_many_operations_cost_no_more_queries_than_one(django_assert_num_queries):
    host = HostFactory()
    rows = [OperationFactory(endpoint=EndpointFactory(host=host), kind="pull") for _ in range(5)]
    with django_assert_num_queries(1):
        assert len(stories(rows)) == 5


def test_forty_that_are_under_way_leave_room_for_what_is_below_them(as_member):
    endpoint = EndpointFactory()
    running = [OperationFactory(endpoint=endpoint, model_name=f"m{n}", state="running") for n in range(40)]
    OperationFactory(endpoint=endpoint, state="succeeded", finished_at=timezone.now())
    shown = recent_stories()
    assert [story.id for story in shown[:MOST_ACTIVE]] == [row.pk for row in reversed(running)][:MOST_ACTIVE]
    assert len(shown) == MOST_ACTIVE + 1
    assert "All operations</a>" in as_member.get("/").content.decode()


def test_a_load_tells_its_own_bytes_where_another_model_made_way():
    began = timezone.now()
    columns = {"state": "succeeded", "started_at": began, "finished_at": began + timedelta(seconds=4)}
    row = OperationFactory(verified_by="process", result={"moved_bytes": 5 * GIB}, **columns)
    step = {"operation": row, "position": 0, "action": "load", "model_name": "qwen3:8b", "state": "done"}
    times = {"started_at": began, "finished_at": began + timedelta(seconds=4)}
    OperationStep.objects.create(**step, **times, before_bytes=12 * GIB, after_bytes=8 * GIB)
    assert stories([row])[0].sentence == "loaded 5.0 GiB in 4.0 s; measured per process."


def test_a_swap_names_what_makes_way_and_what_came_back():
    result = {"restored": ["phi4:14b"], "not_restored": ["qwen3:8b"]}
    columns = {"kind": "swap", "state": "failed", "error_message": "It was not loaded.", "unload": ["phi4:14b", "qwen3:8b"]}
    (story,) = stories([OperationFactory(model_name="gemma3:12b", result=result, **columns)])
    assert story.verb == "Swap phi4:14b and 1 more for"
    assert story.sentence == "It was not loaded. Put back: phi4:14b. Could not be put back: qwen3:8b."
