"""``/metrics``: what Prometheus scrapes, by token or from a network that is let in."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from models_app.accounts.models import ApiToken
from models_app.api.telemetry import SampleOut
from models_app.inventory.models import Host
from models_app.probes.types import DiskSample, GpuDetail, GpuProcess, GpuState, MemoryPressure, MigInstance, RamSample
from models_app.simulation.devices import GIB
from models_app.simulation.hardware import SimulatedGpu, SimulatedHost
from models_app.telemetry.collector import record_sample
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack, unpack
from tests.api.conftest import Script
from tests.factories import AlertFactory, EndpointFactory, HostFactory, LoadedModelFactory, OperationFactory

Families = dict[str, list[tuple[dict[str, str], float]]]


def scrape(script: Script) -> Families:
    answer = script.client.get("/metrics", headers={"Authorization": f"Bearer {script.secret}"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = text_string_to_metric_families(answer.content.decode())
    return {family.name: [(each.labels, each.value) for each in family.samples] for family in families}


@pytest.fixture
def machine() -> SimulatedHost:
    return SimulatedHost("atlas", [SimulatedGpu("NVIDIA L40S", 48 * GIB)])


@pytest.fixture
def host(db: None, machine: SimulatedHost) -> Host:
    host = HostFactory(name="atlas")
    machine.allocate(machine.spawn("python3"), 0, GIB)
    record_sample(host, machine.sample())
    return host


def test_a_gpu_is_told_in_base_units_with_host_index_and_uuid(reader: Script, host: Host, machine: SimulatedHost) -> None:
    found = scrape(reader)
    labels = {"host": "atlas", "gpu": "0", "uuid": machine.gpus[0].uuid}
    gpu = machine.sample().gpus[0]
    assert found["berth_gpu_memory_total_bytes"] == [(labels, 48 * GIB)]
    assert found["berth_gpu_memory_used_bytes"] == [(labels, GIB)]
    assert found["berth_gpu_up"] == [(labels, 1)]
    assert found["berth_gpu_info"] == [(labels | {"name": "NVIDIA L40S", "pool": "vram"}, 1)]
    [(_, ratio)] = found["berth_gpu_utilization_ratio"]
    assert 0 <= ratio <= 1
    assert found["berth_gpu_power_watts"][0][1] == (gpu.power_milliwatts or 0) / 1000
    assert found["berth_host_memory_total_bytes"][0][0] == {"host": "atlas"}


def test_models_endpoints_and_operations_are_told(reader: Script, host: Host, machine: SimulatedHost) -> None:
    endpoint = EndpointFactory(host=host, name="atlas-ollama")
    uuid = machine.gpus[0].uuid
    held = {"gpu_bytes": {uuid: 5 * GIB}, "attributed_by": "process", "size_bytes": 6 * GIB}
    LoadedModelFactory(endpoint=endpoint, name='odd"name\\:8b', **held)
    OperationFactory(endpoint=endpoint, state="failed")
    found = scrape(reader)
    labels = {"host": "atlas", "endpoint": "atlas-ollama"}
    model = labels | {"model": 'odd"name\\:8b'}
    assert found["berth_model_memory_bytes"] == [(model, 6 * GIB)]
    on_gpu = model | {"gpu": "0", "uuid": uuid, "attributed_by": "process"}
    assert found["berth_model_gpu_memory_bytes"] == [(on_gpu, 5 * GIB)]
    assert found["berth_endpoint_up"] == [(labels | {"kind": "ollama"}, 1)]
    assert found["berth_endpoint_loaded_models"] == [(labels | {"kind": "ollama"}, 1)]
    assert found["berth_operations"] == [({"kind": "load", "state": "failed"}, 1)]


def test_an_endpoint_that_does_not_answer_has_no_models(reader: Script, host: Host) -> None:
    endpoint = EndpointFactory(host=host, state="unreachable")
    LoadedModelFactory(endpoint=endpoint, gpu_bytes={"GPU-1": GIB})
    found = scrape(reader)
    assert found["berth_endpoint_up"][0][1] == 0
    families = ("berth_endpoint_loaded_models", "berth_model_memory_bytes", "berth_model_gpu_memory_bytes")
    assert [found[family] for family in families] == [[], [], []]


def test_a_gpu_that_is_lost_has_no_figures(reader: Script, host: Host, machine: SimulatedHost) -> None:
    machine.gpus[0].state = GpuState.LOST
    record_sample(host, machine.sample())
    found = scrape(reader)
    assert (found["berth_gpu_up"][0][1], found["berth_gpu_memory_used_bytes"]) == (0, [])


def test_figures_that_are_old_are_not_shown_as_new(reader: Script, host: Host) -> None:
    sample, shares = unpack(LatestSample.objects.get().payload)
    old = replace(sample, taken_at=datetime(2026, 1, 1, tzinfo=UTC))
    LatestSample.objects.update(taken_at=old.taken_at, payload=pack(old, shares))
    found = scrape(reader)
    assert (found["berth_gpu_up"][0][1], found["berth_gpu_memory_used_bytes"]) == (0, [])
    assert found["berth_host_last_sample_timestamp_seconds"] == [({"host": "atlas"}, 1767225600)]


def test_an_empty_panel_has_metrics_too(reader: Script) -> None:
    assert scrape(reader)["berth_gpu_up"] == []


def test_the_queries_do_not_grow_with_the_fleet(reader: Script, host: Host, machine: SimulatedHost) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            scrape(reader)
        return len(captured)

    scrape(reader)  # the token's last use is written once a minute
    before = queries()
    for _ in range(3):
        further = EndpointFactory()
        record_sample(further.host, SimulatedHost(further.host.name, [SimulatedGpu("L4", 24 * GIB)]).sample())
        LoadedModelFactory(endpoint=further)
    assert queries() == before


def test_strangers_learn_nothing(db: None, client: Client, member: User, as_member: Client) -> None:
    for visitor, headers in (
        (client, {}),
        (client, {"Authorization": "Bearer berth_wrong"}),
        (client, {"Authorization": "Basic eDp5"}),
        (as_member, {}),
    ):
        answer = visitor.get("/metrics", headers=headers)
        assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_token_opens_nothing(reader: Script) -> None:
    ApiToken.objects.update(revoked_at="2026-01-01T00:00:00Z")
    assert reader.client.get("/metrics", headers={"Authorization": f"Bearer {reader.secret}"}).status_code == 401


@pytest.mark.parametrize(
    ("address", "status"),
    [("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("::1", 200), ("10.2.0.1", 401), ("127.0.0.1", 401), ("", 401)],
)
def test_a_network_can_be_let_in(db: None, client: Client, settings: Any, address: str, status: int) -> None:
    settings.METRICS_NETWORKS = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("::1")]
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status


def test_metrics_are_only_read(script_of: Callable[..., Script], client: Client) -> None:
    assert client.post("/metrics").status_code == 405


def test_details_and_open_alerts_are_told_in_base_units(reader: Script, host: Host, machine: SimulatedHost) -> None:
    machine.gpus[0].detail = GpuDetail(
        graphics_clock_mhz=2520, clock_holds=("power cap",), ecc_corrected_count=3, pcie_generation=4, pcie_width=8
    )
    ram = RamSample(64 * GIB, 48 * GIB, swapped_in_bytes=5, cached_bytes=GIB, pressure=MemoryPressure(12, 3))
    record_sample(host, replace(machine.sample(), ram=ram, disks=(DiskSample("/models", 100, 40),)))
    AlertFactory(rule="vram_full", severity="warning")
    AlertFactory(state="cleared")
    found = scrape(reader)
    gpu = {"host": "atlas", "gpu": "0", "uuid": machine.gpus[0].uuid}
    assert found["berth_gpu_clock_hertz"] == [(gpu | {"clock": "graphics"}, 2.52e9)]
    assert found["berth_gpu_clock_held"] == [(gpu | {"reason": "power cap"}, 1)]
    assert found["berth_gpu_ecc_errors"] == [(gpu | {"kind": "corrected"}, 3)]
    assert found["berth_gpu_pcie_link_width"] == [(gpu, 8)]
    assert found["berth_host_memory_pressure_ratio"][0] == ({"host": "atlas", "kind": "some"}, 0.12)
    assert found["berth_host_swapped_bytes"][0] == ({"host": "atlas", "direction": "in"}, 5)
    assert found["berth_host_disk_free_bytes"] == [({"host": "atlas", "path": "/models"}, 40)]
    assert found["berth_alerts"] == [({"rule": "vram_full", "severity": "warning"}, 1)]


def test_the_newest_sample_has_the_details(reader: Script, host: Host, machine: SimulatedHost) -> None:
    ram = RamSample(64 * GIB, 48 * GIB, pressure=MemoryPressure(12, 3))
    parts = (MigInstance("MIG-a", "1g.12gb", 11 * GIB, None),)
    machine.gpus[0].detail = GpuDetail(mig_is_on=True, mig_instances=parts)
    record_sample(host, replace(machine.sample(), ram=ram, disks=(DiskSample("/models", 100, 40),)))
    [sample] = reader.get("telemetry/latest").json()["items"]
    assert sample["disks"] == [{"path": "/models", "total_bytes": 100, "free_bytes": 40}]
    assert sample["ram"]["pressure"] == {"some_percent": 12, "full_percent": 3}
    [part] = sample["gpus"][0]["detail"]["mig_instances"]
    assert part == {"uuid": "MIG-a", "name": "1g.12gb", "total_bytes": 11 * GIB, "used_bytes": None}


def test_the_newest_sample_has_exactly_the_members_that_are_described(
    reader: Script, host: Host, machine: SimulatedHost
) -> None:
    machine.gpus[0].detail = GpuDetail(mig_is_on=True, mig_instances=(MigInstance("MIG-a", "1g.12gb"),))
    ram = RamSample(64 * GIB, 48 * GIB, pressure=MemoryPressure(12, 3))
    sample = machine.sample()
    gpus = tuple(replace(gpu, processes=(GpuProcess(7, GIB, "ollama", 1, 5.0),)) for gpu in sample.gpus)
    record_sample(host, replace(sample, gpus=gpus, ram=ram, disks=(DiskSample("/models", 100, 40),)))
    HostFactory()
    for item in reader.get("telemetry/latest").json()["items"]:
        assert item == SampleOut.model_validate(item).model_dump(mode="json")
