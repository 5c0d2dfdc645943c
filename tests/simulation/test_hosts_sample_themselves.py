"""What a simulated machine tells of itself."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.probes.types import GpuState, Probe
from models_app.simulation.devices import GIB, MIB, SimulatedGpu, SimulatedOutOfMemory
from models_app.simulation.hardware import SimulatedHost


def machine(seed: int = 0) -> SimulatedHost:
    return SimulatedHost("testbed", [SimulatedGpu("GPU", 24 * GIB), SimulatedGpu("GPU", 12 * GIB)], seed=seed)


def test_a_host_is_a_probe() -> None:
    probe: Probe = machine()
    first, second = probe.sample(), probe.sample()
    probe.close()
    assert (second.boot_id, second.sequence) == (first.boot_id, first.sequence + 1)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30 * GIB)), max_size=12))
def test_the_parts_of_a_gpu_always_add_up(allocations: list[tuple[int, int]]) -> None:
    host = machine()
    pid = host.spawn("program")
    for gpu, size_bytes in allocations:
        with suppress(SimulatedOutOfMemory):
            host.allocate(pid, gpu, size_bytes)
    for sample in host.sample().gpus:
        assert sample.driver_reserved_bytes + sample.used_bytes + sample.free_bytes == sample.total_bytes
        assert sample.free_bytes >= 0
        assert sample.used_bytes == sum(process.used_bytes or 0 for process in sample.processes or ())


def test_a_process_that_ends_frees_everything() -> None:
    host = machine()
    pid = host.spawn("program")
    host.allocate(pid, 0, 5 * GIB)
    host.allocate_ram(pid, 5 * GIB)
    free_ram_bytes = host.free_ram_bytes()
    host.end(pid)
    host.end(pid)
    assert host.used_bytes(0) == 0
    assert host.free_ram_bytes() == free_ram_bytes + 5 * GIB
    assert not host.is_alive(pid)
    with pytest.raises(KeyError):
        host.allocate(pid, 0, MIB)


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    def figures(seed: int) -> list[tuple[int | None, int | None, int | None]]:
        host = machine(seed)
        host.allocate(host.spawn("program", activity=0.5), 0, GIB)
        sweeps = [host.sample().gpus[0] for _ in range(20)]
        return [(gpu.utilization_percent, gpu.temperature_celsius, gpu.power_milliwatts) for gpu in sweeps]

    assert figures(1) == figures(1)
    assert figures(1) != figures(2)


def test_work_warms_a_gpu_and_an_idle_one_stays_cool() -> None:
    host = machine()
    host.allocate(host.spawn("program", activity=0.8), 0, GIB)
    for _ in range(10):
        busy, idle = host.sample().gpus
    assert (busy.utilization_percent or 0) > 30
    assert (busy.temperature_celsius or 0) > (idle.temperature_celsius or 0)
    assert (busy.power_milliwatts or 0) > (idle.power_milliwatts or 0)
    assert idle.utilization_percent == 0


def test_a_wedged_gpu_repeats_its_last_memory_and_a_lost_one_has_none() -> None:
    host = machine()
    host.allocate(host.spawn("program"), 0, GIB)
    host.sample()
    host.gpus[0].state, host.gpus[0].reason = GpuState.WEDGED, "no answer within 2 s"
    wedged = host.sample().gpus[0]
    assert (wedged.state, wedged.used_bytes, wedged.utilization_percent) == (GpuState.WEDGED, GIB, None)
    host.gpus[0].state = GpuState.LOST
    assert host.sample().gpus[0].used_bytes == 0


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    host = machine()
    pid = host.spawn("program")
    with pytest.raises(SimulatedOutOfMemory) as refused:
        host.allocate(pid, 1, 12 * GIB)
    assert (refused.value.device, refused.value.wanted_bytes) == (1, 12 * GIB)
    assert host.used_bytes(1) == 0


def test_a_driver_may_be_unable_to_list_processes() -> None:
    host = machine()
    host.allocate(host.spawn("program"), 0, GIB)
    host.gpus[0].lists_processes = False
    sample = host.sample().gpus[0]
    assert (sample.used_bytes, sample.processes) == (GIB, None)


def test_a_machine_without_gpus_says_why() -> None:
    sample = SimulatedHost("plain", []).sample()
    assert sample.gpus == ()
    assert sample.nvml_problem
