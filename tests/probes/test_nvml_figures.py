"""What one GPU says of itself, and what is missing when the driver does not say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from models_app.probes.host import LocalProbe
from models_app.probes.nvml import NvmlGpus
from models_app.probes.types import GpuSample, GpuState, PoolKind
from tests.fixtures.nvml import NvmlStub

MIB = 2**20
NOT_SUPPORTED = 3
NO_PERMISSION = 4


def sample_one_gpu(stub: NvmlStub, **gpu: object) -> GpuSample:
    stub.set(count=1, gpu0=gpu)
    probe = LocalProbe(NvmlGpus(deadline_seconds=30))
    sample = probe.sample()
    probe.close()
    assert len(sample.gpus) == 1, sample.nvml_problem
    return sample.gpus[0]


def test_a_gpu_tells_its_name_and_all_its_figures(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(
        nvml_stub,
        name="NVIDIA GeForce RTX 4090",
        uuid="GPU-abc",
        total_mb=24564,
        reserved_mb=400,
        used_mb=1000,
        util=37,
        temp=55,
        power_mw=120_000,
        limit_mw=450_000,
    )
    assert replace(gpu, detail=None) == GpuSample(
        uuid="GPU-abc",
        index=0,
        name="NVIDIA GeForce RTX 4090",
        total_bytes=24564 * MIB,
        driver_reserved_bytes=400 * MIB,
        used_bytes=1000 * MIB,
        free_bytes=23164 * MIB,
        utilization_percent=37,
        temperature_celsius=55,
        power_milliwatts=120_000,
        power_limit_milliwatts=450_000,
    )


def test_memory_v1_counts_what_the_driver_reserves_as_used(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, total_mb=8000, reserved_mb=300, used_mb=1000, no_v2=1)
    assert (gpu.state, gpu.pool) == (GpuState.OK, PoolKind.VRAM)
    assert (gpu.driver_reserved_bytes, gpu.used_bytes, gpu.free_bytes) == (0, 1300 * MIB, 6700 * MIB)


def test_unified_memory_shows_the_hosts_memory(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, util=12, **{"error.nvmlDeviceGetMemoryInfo": NOT_SUPPORTED})
    assert (gpu.state, gpu.pool, gpu.utilization_percent) == (GpuState.OK, PoolKind.UNIFIED, 12)
    assert gpu.total_bytes == psutil.virtual_memory().total
    assert gpu.used_bytes + gpu.free_bytes == gpu.total_bytes
    assert gpu.driver_reserved_bytes == 0


@pytest.mark.parametrize(
    ("function", "figure"),
    [
        ("nvmlDeviceGetUtilizationRates", "utilization_percent"),
        ("nvmlDeviceGetTemperature", "temperature_celsius"),
        ("nvmlDeviceGetPowerUsage", "power_milliwatts"),
        ("nvmlDeviceGetEnforcedPowerLimit", "power_limit_milliwatts"),
        ("nvmlDeviceGetComputeRunningProcesses", "processes"),
    ],
)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION])
def test_an_unsupported_figure_is_missing_alone(nvml_stub: NvmlStub, function: str, figure: str, code: int) -> None:
    gpu = sample_one_gpu(nvml_stub, **{f"error.{function}": code})
    figures = ["utilization_percent", "temperature_celsius", "power_milliwatts", "power_limit_milliwatts", "processes"]
    assert gpu.state is GpuState.OK
    assert [name for name in figures if getattr(gpu, name) is None] == [figure]


def test_an_old_driver_tells_the_temperature_by_the_old_call(nvml_stub: NvmlStub) -> None:
    assert sample_one_gpu(nvml_stub, temp=71, no_v=1).temperature_celsius == 71


@pytest.mark.parametrize("no_v3", [0, 1])
def test_processes_are_listed_by_either_version_of_the_call(nvml_stub: NvmlStub, no_v3: int) -> None:
    gpu = sample_one_gpu(nvml_stub, proc=["4000001:500", "4000002:20"], gproc="4000003:7", no_v3=no_v3)
    assert gpu.processes is not None
    assert [(process.pid, process.used_bytes) for process in gpu.processes] == [
        (4000001, 500 * MIB),
        (4000002, 20 * MIB),
        (4000003, 7 * MIB),
    ]


def test_a_process_that_computes_and_draws_counts_once(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, proc=["4000001:500", "4000002:NA"], gproc=["4000001:500", "4000002:9"])
    assert gpu.processes is not None
    assert {process.pid: process.used_bytes for process in gpu.processes} == {4000001: 500 * MIB, 4000002: 9 * MIB}


def test_a_process_whose_bytes_the_driver_hides_has_none(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, proc="4000001:NA")
    assert gpu.processes is not None
    assert [(process.pid, process.used_bytes) for process in gpu.processes] == [(4000001, None)]


def test_graphics_processes_may_be_missing_alone(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, proc="4000001:5", **{"error.nvmlDeviceGetGraphicsRunningProcesses": NOT_SUPPORTED})
    assert gpu.processes is not None
    assert [process.pid for process in gpu.processes] == [4000001]


def test_a_process_has_its_name_its_parent_and_its_start(nvml_stub: NvmlStub) -> None:
    this = psutil.Process()
    gpu = sample_one_gpu(nvml_stub, proc=f"{os.getpid()}:10")
    assert gpu.processes is not None
    (process,) = gpu.processes
    assert (process.name, process.parent_pid, process.started_at) == (this.name(), this.ppid(), this.create_time())


def test_a_process_that_has_gone_keeps_its_bytes(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, proc="4194305:10")  # above the kernel's greatest pid
    assert gpu.processes is not None
    (process,) = gpu.processes
    assert (process.used_bytes, process.name, process.parent_pid) == (10 * MIB, "", None)


@pytest.mark.parametrize(("code", "words"), [(15, "GPU is lost"), (16, "GPU requires restart")])
def test_a_lost_gpu_is_a_state_with_the_drivers_words(nvml_stub: NvmlStub, code: int, words: str) -> None:
    gpu = sample_one_gpu(nvml_stub, **{"error.nvmlDeviceGetMemoryInfo": code})
    assert (gpu.state, gpu.reason) == (GpuState.LOST, words)


def test_memory_that_cannot_be_read_is_an_error(nvml_stub: NvmlStub) -> None:
    gpu = sample_one_gpu(nvml_stub, **{"error.nvmlDeviceGetMemoryInfo": 999})
    assert (gpu.state, gpu.reason) == (GpuState.ERROR, "Unknown Error")


def test_the_stand_in_counts_the_memory_of_a_live_process_that_it_follows(nvml_stub: NvmlStub, tmp_path: Path) -> None:
    name = f"held-{os.getpid()}"  # no other run's process
    server = tmp_path / name
    server.symlink_to(Path(sys.executable).resolve())
    hold = "import sys; held = bytes(range(256)) * 2**18; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([server, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        gpu = sample_one_gpu(nvml_stub, follow=name, used_mb=100)
        process.communicate(timeout=30)
    assert gpu.processes is not None
    (followed,) = gpu.processes
    assert (followed.pid, followed.name) == (process.pid, name)
    assert followed.used_bytes is not None
    assert gpu.used_bytes == 100 * MIB + followed.used_bytes
    assert 64 * MIB <= followed.used_bytes < 128 * MIB
