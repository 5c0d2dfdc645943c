"""Every list pages, filters, sorts and searches in one way, and refuses what it does not know."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.conftest import Script
from tests.factories import (
    EndpointFactory,
    GpuFactory,
    HostFactory,
    InstallationFactory,
    LoadedModelFactory,
    VariantFactory,
)

LISTS = [
    "hosts",
    "gpus",
    "endpoints",
    "models",
    "loaded-models",
    "telemetry/latest",
    "telemetry/history/summary",
    "operations",
]


def test_a_list_comes_in_pages_with_addresses_of_the_neighbours(reader: Script) -> None:
    HostFactory.create_batch(5)
    first = reader.get("hosts", per_page=2).json()
    assert (len(first["items"]), first["total"], first["previous"]) == (2, 5, None)
    last = reader.client.get(first["next"] + "&page=3", headers={"Authorization": f"Bearer {reader.secret}"}).json()
    assert (len(last["items"]), last["next"]) == (1, None)


def test_no_row_is_lost_or_doubled_between_pages(reader: Script) -> None:
    VariantFactory.create_batch(7, quantization="Q4_K_M")
    seen = [
        row["id"]
        for page in (1, 2, 3)
        for row in reader.get("models", per_page=3, page=page, sort="quantization").json()["items"]
    ]
    assert len(seen) == len(set(seen)) == 7


def test_sorting_takes_several_fields_and_directions(reader: Script) -> None:
    host = HostFactory(name="atlas")
    GpuFactory(host=host, index=0)
    GpuFactory(host=host, index=1)
    rows = reader.get("gpus", sort="host,-index").json()["items"]
    assert [row["index"] for row in rows] == [1, 0]


def test_a_list_is_not_sorted_by_one_field_a_thousand_times(reader: Script) -> None:
    answer = reader.get("gpus", sort=",".join(["index"] * 3000))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")


def test_filters_narrow_and_search_finds_parts(reader: Script) -> None:
    EndpointFactory(name="ollama on atlas", kind="ollama")
    EndpointFactory(name="router on borealis", kind="llama_server")
    assert [row["name"] for row in reader.get("endpoints", kind="ollama").json()["items"]] == ["ollama on atlas"]
    assert [row["name"] for row in reader.get("endpoints", q="bor rou").json()["items"]] == ["router on borealis"]


def test_a_model_installed_twice_on_an_endpoint_is_listed_once(reader: Script) -> None:
    variant, endpoint = VariantFactory(), EndpointFactory(name="atlas")
    InstallationFactory(variant=variant, endpoint=endpoint, name="one")
    InstallationFactory(variant=variant, endpoint=endpoint, name="two")
    page = reader.get("models", endpoint="atlas").json()
    assert (page["total"], len(page["items"][0]["installations"])) == (1, 2)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"sort": "api_key"}, "sort"),
        ({"sort": ""}, "sort"),
        ({"page": "0"}, "page"),
        ({"page": "-1"}, "page"),
        ({"page": "９"}, "page"),
        ({"page": "9" * 30}, "page"),
        ({"per_page": "201"}, "per_page"),
        ({"per_page": "many"}, "per_page"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_asked_is_refused(reader: Script, path: str, query: dict[str, str], field: str) -> None:
    answer = reader.get(path, **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("hosts", {"is_local": "perhaps"}),
        ("gpus", {"state": "melted"}),
        ("gpus", {"host_id": "one"}),
        ("endpoints", {"kind": "vllm"}),
        ("loaded-models", {"state": "gone"}),
        ("operations", {"state": "lost"}),
        ("endpoints", {"name": "a\x00b"}),
    ],
)
def test_a_filter_with_an_impossible_value_is_refused(reader: Script, path: str, query: dict[str, str]) -> None:
    assert reader.get(path, **query).status_code == 422


def test_a_page_past_the_end_is_empty(reader: Script) -> None:
    HostFactory()
    assert reader.get("hosts", page=99).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("hosts", lambda: GpuFactory()),
        ("gpus", lambda: GpuFactory()),
        ("endpoints", lambda: EndpointFactory()),
        ("models", lambda: InstallationFactory()),
        ("loaded-models", lambda: LoadedModelFactory()),
    ],
)
def test_the_number_of_queries_does_not_grow_with_the_rows(reader: Script, path: str, make: object) -> None:
    reader.get("hosts")

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert reader.get(path).status_code == 200
        return len(captured)

    make()  # type: ignore[operator]
    few = queries()
    for _ in range(10):
        make()  # type: ignore[operator]
    assert queries() == few
