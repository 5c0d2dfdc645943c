"""The history page: charts for those with scripts, and for everybody the same as tables and downloads."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Gpu, LoadedModel
from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuSample, HostSample
from models_app.simulation.devices import GIB
from models_app.telemetry.division import By, GpuShares, ModelShare
from models_app.telemetry.history.recorder import Recorder
from tests.factories import EndpointFactory, GpuFactory, LoadedModelFactory, OperationFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


@pytest.fixture
def gpu(db: None) -> Gpu:
    return GpuFactory(host__name="atlas", uuid="GPU-1")


@pytest.fixture
def llama(gpu: Gpu) -> LoadedModel:
    return LoadedModelFactory(endpoint=EndpointFactory(host=gpu.host, name="atlas-ollama"), name="llama3.1:8b")


@pytest.fixture
def remembered(gpu: Gpu, llama: LoadedModel) -> None:
    """Ten minutes until noon: the model holds 5 GiB in the second half."""
    recorder = Recorder()
    for second in range(-600, 0, 5):
        model_bytes = 5 * GIB if second >= -300 else 0
        used = model_bytes + 2 * GIB
        measured = GpuSample(gpu.uuid, 0, "RTX", used_bytes=used, utilization_percent=40, power_milliwatts=250_000)
        models = {llama.pk: ModelShare(model_bytes, By.PROCESS)} if model_bytes else {}
        shares = GpuShares(gpu.uuid, used, models, {"<b>python": GIB}, GIB, Coverage.FULL)
        recorder.note(
            gpu.host,
            HostSample("boot", second + 700, NOON + timedelta(seconds=second), (measured,)),
            {gpu.uuid: shares},
            [llama],
        )
    recorder.flush()


def page(browser: Client, **query: Any) -> str:
    answer = browser.get("/history/", query)
    assert answer.status_code == 200
    return answer.content.decode()


def rows(shown: str, of: str) -> list[list[str]]:
    """The words of a table's rows."""
    body = re.search(rf"<tbody{of}>(.*?)</tbody>", shown, re.S)
    assert body
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", body[1], re.S)]
    return [[re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", cell))).strip() for cell in row] for row in cells]


@pytest.mark.usefixtures("remembered")
def test_it_says_whose_the_bytes_were(as_member: Client, gpu: Gpu) -> None:
    shown = page(as_member, gpu=gpu.pk, range="1h")
    assert rows(shown, ' id="history-shares"') == [
        ["llama3.1:8b", "", "0.0", "2.5", "5.0"],
        ["<b>python another program", "", "1.0", "1.0", "1.0"],
        ["Unexplained held by no process that the driver lists", "", "1.0", "1.0", "1.0"],
    ]


@pytest.mark.usefixtures("remembered")
def test_the_figures_stand_in_a_table_with_least_mean_and_most(as_member: Client, gpu: Gpu) -> None:
    found = rows(page(as_member, gpu=gpu.pk, range="1h"), "")
    assert found[0] == ["11-21 11:57", "7.0 · 7.0 · 7.0", "40 · 40 · 40", "–", "250 · 250 · 250"]
    assert found[1] == ["11-21 11:54", "2.0 · 5.3 · 7.0", "40 · 40 · 40", "–", "250 · 250 · 250"]
    assert len(found) == 4


@pytest.mark.usefixtures("remembered")
def test_a_model_has_a_page_with_its_bytes_on_each_gpu(as_member: Client, llama: LoadedModel) -> None:
    shown = page(as_member, model="llama3.1:8b", endpoint=llama.endpoint_id, range="1h")
    assert "on atlas-ollama, atlas" in shown
    assert rows(shown, ' id="history-shares"') == [["GPU 0 NVIDIA GeForce RTX 4090", "", "0.0", "2.5", "5.0"]]
    assert rows(shown, "")[0] == ["11-21 11:57", "5.0 · 5.0 · 5.0"]


def test_the_downloads_are_the_apis(as_member: Client, gpu: Gpu) -> None:
    shown = page(as_member, gpu=gpu.pk, range="24h")
    links = [html.unescape(link) for link in re.findall(r'href="(/api/v1/telemetry/history[^"]*)"', shown)]
    assert [as_member.get(link).headers["Content-Type"] for link in links] == ["text/csv", "application/json"]
    assert all("since=2026-11-20T12%3A00" in link for link in links)
    [source] = re.findall(r'data-source="([^"]*)"', shown)
    assert as_member.get(html.unescape(source)).status_code == 200


def test_only_operations_of_the_span_are_listed(as_member: Client, gpu: Gpu, llama: LoadedModel) -> None:
    def operation(hours: float, **about: Any) -> None:
        with time_machine.travel(NOON - timedelta(hours=hours), tick=False):
            OperationFactory(endpoint=llama.endpoint, state="failed", **about)

    operation(0.5)
    operation(0.5, model_name="another:7b")
    operation(3, model_name="too-early:7b")
    operation(0.5, kind="pull", model_name="no-memory:7b")
    shown = page(as_member, gpu=gpu.pk, range="1h")
    assert [name in shown for name in ("llama3.1:8b", "another:7b", "too-early:7b", "no-memory:7b")] == [
        True,
        True,
        False,
        False,
    ]
    assert "another:7b" not in page(as_member, model="llama3.1:8b", endpoint=llama.endpoint_id, range="1h")


def test_the_first_gpu_is_shown_unless_told_otherwise(as_member: Client, gpu: Gpu) -> None:
    GpuFactory(host__name="aardvark", present=False)
    assert "atlas · GPU 0" in page(as_member)


def test_other_gpus_and_models_are_a_link_away(as_member: Client, gpu: Gpu, llama: LoadedModel) -> None:
    other = GpuFactory(host__name="borealis", index=3)
    shown = html.unescape(page(as_member, gpu=gpu.pk, range="7d"))
    query = urlencode({"model": "llama3.1:8b", "endpoint": llama.endpoint_id})
    assert f'href="?gpu={other.pk}&range=7d"' in shown
    assert f'href="?{query}&range=7d"' in shown


def test_the_fleet_page_leads_to_the_past_of_gpus_and_models(as_member: Client, gpu: Gpu, llama: LoadedModel) -> None:
    shown = html.unescape(as_member.get("/").content.decode())
    links = [link for link in re.findall(r'href="([^"]*)"', shown) if link.startswith("/history/?")]
    assert len(links) == 2
    assert [as_member.get(link).status_code for link in links] == [200, 200]


def test_a_panel_without_gpus_says_what_will_be_here(as_member: Client) -> None:
    assert "Nothing to remember yet" in page(as_member)


@pytest.mark.parametrize(
    "query",
    [{"gpu": "999"}, {"gpu": "x"}, {"gpu": "9" * 40}, {"model": "a", "endpoint": "999"}, {"model": "a\0", "endpoint": "x"}],
)
def test_what_is_gone_is_not_found(as_member: Client, query: dict[str, str]) -> None:
    assert as_member.get("/history/", query).status_code == 404


@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize(
    ("later", "opens_at"),
    [(timedelta(), "1 h"), (timedelta(hours=3), "6 h"), (timedelta(hours=20), "24 h"), (timedelta(days=2), "7 d")],
)
def test_it_opens_at_the_shortest_range_that_holds_what_there_is(
    as_member: Client, gpu: Gpu, llama: LoadedModel, later: timedelta, opens_at: str
) -> None:
    with time_machine.travel(NOON + later, tick=False):
        of_gpu, of_model = page(as_member, gpu=gpu.pk), page(as_member, model=llama.name, endpoint=llama.endpoint_id)
    assert f'aria-current="true">{opens_at}<' in of_gpu
    assert f'aria-current="true">{opens_at}<' in of_model


def test_an_unknown_range_falls_back(as_member: Client, gpu: Gpu) -> None:
    assert 'aria-current="true">6 h' in page(as_member, gpu=gpu.pk, range="<script>")


def test_strangers_are_sent_to_the_login(client: Client, gpu: Gpu) -> None:
    assert client.get("/history/").status_code == 302


@pytest.mark.usefixtures("llama")
def test_many_operations_take_no_more_queries_than_one(as_member: Client, gpu: Gpu) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as context:
            page(as_member, gpu=gpu.pk, range="1h")
        return len(context)

    endpoint = EndpointFactory(host=gpu.host)
    OperationFactory(endpoint=endpoint, state="succeeded")
    of_one = queries()
    OperationFactory.create_batch(4, endpoint=endpoint, state="succeeded")
    assert queries() == of_one
