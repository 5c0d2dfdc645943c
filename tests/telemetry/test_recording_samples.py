"""Samples become rows: the newest of a host, its GPUs, and what its models hold."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from asgiref.sync import sync_to_async
from pytest_django import DjangoAssertNumQueries

from models_app.agent import codec
from models_app.inventory.models import Gpu, Host, LoadedModel
from models_app.live import current_revision
from models_app.probes.types import GpuState, HostSample
from models_app.simulation.devices import GIB, SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import rings, sources
from models_app.telemetry.collector import Collector, record_sample
from models_app.telemetry.latest import is_stale, latest
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack, unpack
from tests.factories import EndpointFactory, HostFactory, LoadedModelFactory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(sample: HostSample, seconds: float) -> HostSample:
    return replace(sample, taken_at=NOON + timedelta(seconds=seconds))


def test_a_sample_survives_its_encoding(simulated_host: SimulatedHost) -> None:
    simulated_host.allocate(simulated_host.spawn("python3"), 0, GIB)
    sample = simulated_host.sample()
    assert unpack(pack(sample)) == (sample, {})
    listless = replace(sample, ram=None, gpus=(replace(sample.gpus[0], processes=None),))
    assert unpack(pack(listless)) == (listless, {})
    later = {"sample": codec.encode(sample), "from_a_later_version": 1}
    assert unpack(msgspec.msgpack.encode(later)) == (sample, {})
    with pytest.raises(ValueError, match="sample"):
        unpack(b"\x80")


def test_a_first_sample_makes_the_gpus(host: Host, simulated_host: SimulatedHost) -> None:
    assert record_sample(host, simulated_host.sample()) is True
    gpu = Gpu.objects.get()
    assert (gpu.host, gpu.uuid, gpu.name) == (host, simulated_host.gpus[0].uuid, "NVIDIA GeForce RTX 4090")
    assert (gpu.total_bytes, gpu.state, gpu.present) == (24 * GIB, "ok", True)
    host.refresh_from_db()
    assert host.driver_version == "580.95.05"


def test_the_latest_sample_is_read_back(host: Host, simulated_host: SimulatedHost) -> None:
    simulated_host.allocate(simulated_host.spawn("python3"), 0, GIB)
    record_sample(host, sample := simulated_host.sample())
    found = latest(host, now=sample.taken_at + timedelta(seconds=4))
    assert found
    assert (found.sample, found.is_stale) == (sample, False)
    assert found.recent == {sample.gpus[0].uuid: [GIB]}
    assert found.shares[sample.gpus[0].uuid].others == {"python3": GIB}
    assert found.gpu("no such GPU") is None
    assert is_stale(sample.taken_at, sample.taken_at + timedelta(seconds=6))


def test_a_host_without_a_sample_has_no_latest(host: Host) -> None:
    assert latest(host) is None


def test_late_and_repeated_samples_are_ignored(host: Host, simulated_host: SimulatedHost) -> None:
    first, second = simulated_host.sample(), simulated_host.sample()
    assert record_sample(host, second) is True
    assert record_sample(host, second) is False
    assert record_sample(host, first) is False
    assert LatestSample.objects.get().sequence == second.sequence


def test_a_restart_begins_a_new_sequence(host: Host, simulated_host: SimulatedHost) -> None:
    sample = at(simulated_host.sample(), 0)
    record_sample(host, replace(sample, sequence=1000))
    assert record_sample(host, replace(at(sample, 1), boot_id="another boot", sequence=1)) is True
    assert record_sample(host, replace(at(sample, 0.5), boot_id="yet another", sequence=9999)) is False


def test_a_clock_that_was_set_back_stops_nothing(host: Host, simulated_host: SimulatedHost) -> None:
    record_sample(host, at(simulated_host.sample(), 3600))
    assert record_sample(host, at(simulated_host.sample(), 0)) is True


def test_a_machine_that_counts_from_one_again_is_heard(host: Host, simulated_host: SimulatedHost) -> None:
    sample = at(simulated_host.sample(), 0)
    record_sample(host, replace(sample, sequence=1000))
    assert record_sample(host, replace(at(sample, 1), sequence=1)) is True


def test_the_ring_keeps_one_point_a_second_of_the_last_minutes(
    host: Host, simulated_host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "RECENT_POINTS", 15)
    pid = simulated_host.spawn("python3")
    for second in range(15 + 5):
        simulated_host.allocate(pid, 0, 1000)
        record_sample(host, at(simulated_host.sample(), second))
        record_sample(host, at(simulated_host.sample(), second + 0.5))
    [points] = LatestSample.objects.get().recent.values()
    assert points == [1000 * number for number in range(6, 15 + 6)]


def test_a_long_silence_starts_the_ring_anew(host: Host, simulated_host: SimulatedHost) -> None:
    record_sample(host, at(simulated_host.sample(), 0))
    record_sample(host, at(simulated_host.sample(), 3600))
    assert [len(points) for points in LatestSample.objects.get().recent.values()] == [1]


@pytest.mark.parametrize("state", [GpuState.LOST, GpuState.WEDGED, GpuState.ERROR])
def test_a_gpu_that_fails_keeps_its_figures_and_says_why(
    host: Host, simulated_host: SimulatedHost, state: GpuState
) -> None:
    record_sample(host, at(simulated_host.sample(), 0))
    simulated_host.gpus[0].state, simulated_host.gpus[0].reason = state, "Xid 79"
    record_sample(host, at(simulated_host.sample(), 1))
    gpu = Gpu.objects.get()
    assert (gpu.state, gpu.state_reason, gpu.present) == (state.value, "Xid 79", True)
    assert (gpu.total_bytes, gpu.driver_reserved_bytes) == (24 * GIB, simulated_host.gpus[0].driver_reserved_bytes)
    assert [len(points) for points in LatestSample.objects.get().recent.values()] == [1]


def test_a_gpu_that_is_gone_is_absent_and_comes_back(host: Host, simulated_host: SimulatedHost) -> None:
    whole = at(simulated_host.sample(), 0)
    record_sample(host, whole)
    record_sample(host, replace(at(simulated_host.sample(), 1), gpus=(), nvml_problem="The driver is not loaded."))
    gpu = Gpu.objects.get()
    assert (gpu.present, gpu.state, gpu.state_reason) == (False, "lost", "The driver is not loaded.")
    host.refresh_from_db()
    assert host.gpu_problem == "The driver is not loaded."
    record_sample(host, at(simulated_host.sample(), 2))
    gpu.refresh_from_db()
    assert (gpu.present, gpu.state, gpu.state_reason) == (True, "ok", "")


def test_a_machine_without_a_gpu_is_a_normal_machine(db: None) -> None:
    host = HostFactory()
    record_sample(host, SimulatedHost("bare", []).sample())
    found = latest(host)
    assert found
    assert found.sample.gpus == ()
    assert found.sample.ram


def test_a_card_that_moved_belongs_to_its_new_host(host: Host, simulated_host: SimulatedHost) -> None:
    record_sample(host, simulated_host.sample())
    other = HostFactory()
    card = SimulatedGpu("NVIDIA GeForce RTX 4090", 24 * GIB, uuid=simulated_host.gpus[0].uuid)
    record_sample(other, SimulatedHost("other", [card]).sample())
    assert Gpu.objects.get().host == other


def test_a_tick_without_news_takes_few_queries(
    host: Host, simulated_host: SimulatedHost, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        EndpointFactory(host=host)
    record_sample(host, simulated_host.sample())
    with django_assert_max_num_queries(9):
        record_sample(host, simulated_host.sample())


def test_a_models_own_process_tells_its_bytes(host: Host, simulated_host: SimulatedHost) -> None:
    row = LoadedModelFactory(endpoint__host=host)
    pid = simulated_host.spawn("llama-server")
    sources.register_pids(row.endpoint_id, lambda: [pid])
    simulated_host.allocate(pid, 0, 5 * GIB)
    record_sample(host, simulated_host.sample())
    row.refresh_from_db()
    assert (row.gpu_bytes, row.attributed_by) == ({simulated_host.gpus[0].uuid: 5 * GIB}, "process")
    simulated_host.allocate(pid, 0, 1000)
    record_sample(host, simulated_host.sample())
    row.refresh_from_db()
    assert row.gpu_bytes == {simulated_host.gpus[0].uuid: 5 * GIB}
    simulated_host.end(pid)
    record_sample(host, simulated_host.sample())
    sources.unregister_pids(row.endpoint_id)
    row.refresh_from_db()
    assert row.gpu_bytes == {}


def test_a_measured_rise_is_not_replaced_by_a_claim(host: Host, simulated_host: SimulatedHost) -> None:
    uuid = simulated_host.gpus[0].uuid
    simulated_host.allocate(simulated_host.spawn("hidden"), 0, 6 * GIB)
    row = LoadedModelFactory(endpoint__host=host, vram_bytes=GIB, gpu_bytes={uuid: 5 * GIB}, attributed_by="gpu")
    sample = simulated_host.sample()
    record_sample(host, replace(sample, gpus=(replace(sample.gpus[0], processes=None),)))
    row.refresh_from_db()
    assert (row.gpu_bytes, row.attributed_by) == ({uuid: 5 * GIB}, "gpu")
    found = latest(host)
    assert found
    assert (found.shares[uuid].models[row.pk].bytes, found.shares[uuid].unexplained_bytes) == (5 * GIB, GIB)


@pytest.mark.django_db(transaction=True)
def test_every_sample_is_published_for_its_host(simulated_host: SimulatedHost) -> None:
    host = HostFactory()
    record_sample(host, simulated_host.sample())
    first = current_revision()
    record_sample(host, simulated_host.sample())
    assert current_revision() == first + 1


class StuckProbe:
    """A probe whose driver does not return until it is let go."""

    def __init__(self, sample: HostSample) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self._sample = sample

    def sample(self) -> HostSample:
        self.entered.set()
        self.let_go.wait(30)
        return self._sample

    def close(self) -> None:
        self.let_go.set()


@pytest.mark.django_db(transaction=True)
async def test_a_stuck_host_delays_no_other(simulated_host: SimulatedHost) -> None:
    stuck, healthy = await sync_to_async(HostFactory)(name="a-stuck"), await sync_to_async(HostFactory)(name="b-healthy")
    probe = StuckProbe(SimulatedHost("stuck", []).sample())
    sources.register(stuck, probe)
    sources.register(healthy, simulated_host)
    collector = Collector()
    await collector.tick()
    await collector.tick()
    assert (await LatestSample.objects.aget()).host_id == healthy.pk
    assert (await LatestSample.objects.aget()).sequence == 2
    probe.close()
    await collector.settled()
    assert await LatestSample.objects.acount() == 2
    sources.unregister(stuck)
    sources.unregister(healthy)


def test_a_host_without_a_probe_here_has_no_sample(db: None) -> None:
    assert sources.sample_now(HostFactory()) is None


def test_models_of_other_hosts_are_not_touched(host: Host, simulated_host: SimulatedHost) -> None:
    other = LoadedModelFactory(gpu_bytes={"GPU-x": 1}, attributed_by="process")
    record_sample(host, simulated_host.sample())
    assert LoadedModel.objects.get().gpu_bytes == {"GPU-x": 1}
    assert LoadedModel.objects.get() == other
