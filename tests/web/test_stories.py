"""Operations in words: where they work, and on which GPU."""

from __future__ import annotations

import pytest

from models_app.web.stories import stories
from tests.factories import EndpointFactory, GpuFactory, HostFactory, OperationFactory

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
