"""The board asks only for metrics that the panel has, by labels that they have."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings

from models_app.api.metrics import Fleet
from models_app.probes.types import DiskSample, GpuDetail, MemoryPressure, RamSample
from models_app.simulation.devices import GIB
from models_app.simulation.hardware import SimulatedGpu, SimulatedHost
from models_app.telemetry.collector import record_sample
from tests.factories import AlertFactory, EndpointFactory, HostFactory, LoadedModelFactory, OperationFactory

BOARD: dict[str, Any] = json.loads((settings.BASE_DIR / "deploy/grafana/berth.json").read_text())
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
QUERIES += [variable["definition"] for variable in BOARD["templating"]["list"] if "definition" in variable]


@pytest.fixture
def labels(db: None) -> dict[str, set[str]]:
    """The labels of each metric of a panel that has one of everything."""
    machine = SimulatedHost("atlas", [SimulatedGpu("NVIDIA L40S", 48 * GIB)])
    machine.gpus[0].detail = GpuDetail(
        graphics_clock_mhz=2520, clock_holds=("power cap",), ecc_corrected_count=0, pcie_generation=4, pcie_width=8
    )
    ram = RamSample(64 * GIB, 48 * GIB, huge_pages_total_bytes=GIB, pressure=MemoryPressure(12, 3))
    endpoint = EndpointFactory(host=HostFactory(name="atlas"))
    record_sample(endpoint.host, replace(machine.sample(), ram=ram, disks=(DiskSample("/models", 100, 40),)))
    AlertFactory()
    LoadedModelFactory(endpoint=endpoint, size_bytes=GIB, gpu_bytes={machine.gpus[0].uuid: GIB})
    OperationFactory(endpoint=endpoint)
    return {family.name: set(family.samples[0].labels) for family in Fleet().collect()}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_there_is(query: str, labels: dict[str, set[str]]) -> None:
    names = re.findall(r"berth_\w+", query)
    assert names
    for name in names:
        known = labels[name]
        assert set(re.findall(r"(\w+)=~", query)) <= known
        grouped = re.search(r"by \(([^)]*)\)", query)
        assert not grouped or set(grouped[1].replace(" ", "").split(",")) <= known


def test_every_metric_has_a_value(labels: dict[str, set[str]]) -> None:
    assert len(labels) == 32


def test_no_two_panels_overlap() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
