"""A driver that is not there, restarts, loses a GPU or hangs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pynvml
import pytest

from models_app.probes.nvml import NvmlGpus
from models_app.probes.types import GpuState
from tests.fixtures.nvml import NvmlStub
from tests.probes.conftest import Clock

MIB = 2**20
GPU_IS_LOST = 15


@pytest.fixture
def impatient_gpus(nvml_stub: NvmlStub, clock: Clock) -> Iterator[NvmlGpus]:
    """Long enough for a stand-in that answers, even on a busy machine; each test waits for it once."""
    gpus = NvmlGpus(deadline_seconds=1.5, clock=clock)
    yield gpus
    nvml_stub.set(count=0)
    eventually(lambda: not any(thread.name.startswith("nvml") for thread in threading.enumerate()))
    gpus.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Waits until a thread that we cannot join has gone on; fails after long."""
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def states(gpus: NvmlGpus) -> list[GpuState]:
    return [gpu.state for gpu in gpus.sweep().gpus]


def test_the_loader_gives_pynvml_the_stand_in_by_its_soname(nvml_stub: NvmlStub) -> None:
    pynvml.nvmlInit()
    assert hasattr(pynvml.nvmlLib, "nvml_stub_marker")


def test_a_child_process_sees_the_same_gpus(nvml_stub: NvmlStub) -> None:
    nvml_stub.set(count=1, gpu0={"name": "Stand-in"})
    script = "from models_app.probes.host import LocalProbe; print(LocalProbe().sample().gpus[0].name)"
    child = subprocess.run(
        [sys.executable, "-c", script], env=nvml_stub.environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert child.stdout == "Stand-in\n"


def test_a_machine_without_the_library_says_so(gpus: NvmlGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(pynvml, "CDLL", refuse)
    sweep = gpus.sweep()
    assert sweep.gpus == ()
    assert "this machine has no NVIDIA driver" in sweep.problem


@pytest.mark.parametrize(
    ("code", "words"),
    [(9, "not loaded"), (18, "restart this program"), (4, "may not open"), (999, "could not be started: Unknown Error")],
)
def test_a_driver_that_does_not_start_says_why(nvml_stub: NvmlStub, gpus: NvmlGpus, code: int, words: str) -> None:
    nvml_stub.set(init_error=code)
    assert words in gpus.sweep().problem


def test_a_driver_without_gpus_says_so(gpus: NvmlGpus) -> None:
    assert gpus.sweep().problem == "The NVIDIA driver is loaded but shows no GPU."


def test_a_missing_driver_is_tried_again_after_half_a_minute(nvml_stub: NvmlStub, gpus: NvmlGpus, clock: Clock) -> None:
    nvml_stub.unload_driver()
    assert gpus.sweep().problem
    nvml_stub.set(count=1)
    clock.now += 29
    assert gpus.sweep().gpus == ()
    assert nvml_stub.take_calls() == []
    clock.now += 1
    assert states(gpus) == [GpuState.OK]


def test_handles_are_opened_once_and_a_sweep_takes_few_calls(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, gpu0={"proc": "4000001:5"})
    gpus.sweep()
    assert nvml_stub.take_calls()[:2] == ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2"]
    gpus.sweep()
    assert sorted(nvml_stub.take_calls()) == [
        "nvmlDeviceGetComputeRunningProcesses_v3 0",
        "nvmlDeviceGetComputeRunningProcesses_v3 0",
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetEnforcedPowerLimit 0",
        "nvmlDeviceGetGraphicsRunningProcesses_v3 0",
        "nvmlDeviceGetMemoryInfo_v2 0",
        "nvmlDeviceGetPowerUsage 0",
        "nvmlDeviceGetTemperatureV 0",
        "nvmlDeviceGetUtilizationRates 0",
    ]


def test_a_gpu_lost_in_the_middle_of_a_sweep_keeps_its_last_figures(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=2, gpu1={"used_mb": 100})
    assert states(gpus) == [GpuState.OK, GpuState.OK]
    nvml_stub.set(count=2, gpu1={"used_mb": 999, "error.nvmlDeviceGetPowerUsage": GPU_IS_LOST})
    healthy, lost = gpus.sweep().gpus
    assert healthy.state is GpuState.OK
    assert (lost.state, lost.reason, lost.used_bytes) == (GpuState.LOST, "GPU is lost", 100 * MIB)
    nvml_stub.set(count=2, gpu1={"used_mb": 200})
    assert states(gpus) == [GpuState.OK, GpuState.OK]


def test_another_number_of_gpus_opens_them_again_by_uuid(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=2, gpu0={"uuid": "GPU-a"}, gpu1={"uuid": "GPU-b"})
    assert [gpu.uuid for gpu in gpus.sweep().gpus] == ["GPU-a", "GPU-b"]
    nvml_stub.set(count=1, gpu0={"uuid": "GPU-b", "used_mb": 7})
    (left,) = gpus.sweep().gpus
    assert (left.uuid, left.index, left.state, left.used_bytes) == ("GPU-b", 0, GpuState.OK, 7 * MIB)


def test_a_restarted_driver_is_opened_again_at_once(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, driver="1.0")
    gpus.sweep()
    nvml_stub.set(count=1, driver="2.0", driver_start=2)
    sweep = gpus.sweep()
    assert (sweep.driver_version, sweep.problem, [gpu.state for gpu in sweep.gpus]) == ("2.0", "", [GpuState.OK])


def test_a_driver_that_goes_away_takes_its_gpus_along(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1)
    gpus.sweep()
    nvml_stub.set(count=1, driver_start=2, init_error=9)
    sweep = gpus.sweep()
    assert sweep.gpus == ()
    assert "not loaded" in sweep.problem


def test_nvml_is_opened_again_now_and_then_while_every_gpu_fails(nvml_stub: NvmlStub, gpus: NvmlGpus, clock: Clock) -> None:
    nvml_stub.set(count=1, gpu0={"used_mb": 50})
    gpus.sweep()
    nvml_stub.set(count=1, gpu0={"error.nvmlDeviceGetMemoryInfo": GPU_IS_LOST})
    gpus.sweep()
    nvml_stub.take_calls()
    gpus.sweep()
    assert "nvmlInitWithFlags" not in nvml_stub.take_calls()
    clock.now += 30
    (gpu,) = gpus.sweep().gpus
    assert "nvmlInitWithFlags" in nvml_stub.take_calls()
    assert (gpu.state, gpu.used_bytes) == (GpuState.LOST, 50 * MIB)


def test_a_gpu_that_cannot_be_opened_is_named_beside_the_others(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=2, gpu0={"error.nvmlDeviceGetHandleByIndex": GPU_IS_LOST}, gpu1={"uuid": "GPU-b"})
    sweep = gpus.sweep()
    assert [gpu.uuid for gpu in sweep.gpus] == ["GPU-b"]
    assert sweep.problem == "GPU 0 cannot be opened: GPU is lost."


def test_a_wedged_gpu_shows_its_last_figures_until_its_call_returns(nvml_stub: NvmlStub, impatient_gpus: NvmlGpus) -> None:
    nvml_stub.set(count=2, gpu0={"used_mb": 100}, gpu1={"used_mb": 5})
    known = impatient_gpus.sweep().gpus[0]
    nvml_stub.set(count=2, gpu0={"used_mb": 200, "hang": 1}, gpu1={"used_mb": 6})
    wedged, healthy = impatient_gpus.sweep().gpus
    assert wedged == replace(known, state=GpuState.WEDGED, reason=wedged.reason)
    assert "has not returned" in wedged.reason
    assert (healthy.state, healthy.used_bytes) == (GpuState.OK, 6 * MIB)
    nvml_stub.take_calls()
    assert states(impatient_gpus) == [GpuState.WEDGED, GpuState.OK]
    assert [call for call in nvml_stub.take_calls() if call.endswith(" 0")] == []
    nvml_stub.set(count=2, gpu0={"used_mb": 300})
    eventually(lambda: states(impatient_gpus) == [GpuState.OK, GpuState.OK])
    assert impatient_gpus.sweep().gpus[0].used_bytes == 300 * MIB


def test_nvml_is_not_shut_down_under_a_wedged_call(nvml_stub: NvmlStub, impatient_gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1)
    impatient_gpus.sweep()
    nvml_stub.set(count=1, gpu0={"hang": 1})
    assert states(impatient_gpus) == [GpuState.WEDGED]
    nvml_stub.set(count=2, gpu0={"hang": 1})
    assert states(impatient_gpus) == [GpuState.WEDGED]
    impatient_gpus.close()
    assert "nvmlShutdown" not in nvml_stub.take_calls()
    nvml_stub.set(count=2)
    eventually(lambda: states(impatient_gpus) == [GpuState.OK, GpuState.OK])


def test_a_driver_that_hangs_as_a_whole_leaves_the_last_figures(nvml_stub: NvmlStub, impatient_gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, gpu0={"used_mb": 100})
    impatient_gpus.sweep()
    nvml_stub.set(count=1, hang=1)
    sweep = impatient_gpus.sweep()
    assert [(gpu.state, gpu.used_bytes) for gpu in sweep.gpus] == [(GpuState.WEDGED, 100 * MIB)]
    assert "does not answer" in sweep.problem
    nvml_stub.set(count=1, gpu0={"used_mb": 101})
    eventually(lambda: states(impatient_gpus) == [GpuState.OK])


def test_a_slow_start_is_not_repeated_once_it_is_done(nvml_stub: NvmlStub, impatient_gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1, hang=1)
    assert impatient_gpus.sweep().gpus == ()
    nvml_stub.set(count=1)
    eventually(lambda: states(impatient_gpus) == [GpuState.OK])
    assert nvml_stub.take_calls().count("nvmlInitWithFlags") == 1


def test_a_closed_driver_is_given_back_and_opens_again(nvml_stub: NvmlStub, gpus: NvmlGpus) -> None:
    nvml_stub.set(count=1)
    gpus.sweep()
    gpus.close()
    assert nvml_stub.take_calls()[-1] == "nvmlShutdown"
    assert pynvml._nvmlLib_refcount == 0
    assert states(gpus) == [GpuState.OK]
