"""This machine as one sample."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from models_app.probes import host
from models_app.probes.host import LocalProbe, boot_id, hostname
from models_app.probes.memory import sample_ram
from models_app.probes.nvml import NvmlGpus
from models_app.probes.types import GpuState, Probe
from tests.fixtures.nvml import NvmlStub


def test_a_machine_without_gpus_still_shows_its_memory(nvml_stub: NvmlStub) -> None:
    nvml_stub.unload_driver()
    sample = LocalProbe().sample()
    assert (sample.gpus, sample.driver_version) == ((), "")
    assert "not loaded" in sample.nvml_problem
    assert sample.ram is not None
    assert 0 < sample.ram.available_bytes <= sample.ram.total_bytes


def test_a_machine_with_gpus_names_its_driver(nvml_stub: NvmlStub) -> None:
    nvml_stub.set(count=1, driver="580.95.05")
    probe: Probe = LocalProbe(NvmlGpus(deadline_seconds=30))
    sample = probe.sample()
    probe.close()
    assert (sample.driver_version, sample.nvml_problem, len(sample.gpus)) == ("580.95.05", "", 1)
    assert sample.taken_at.tzinfo is not None


def test_a_machine_whose_memory_cannot_be_read_still_shows_its_gpus(
    nvml_stub: NvmlStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError("no /proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    nvml_stub.set(count=1)
    sample = LocalProbe(NvmlGpus(deadline_seconds=30)).sample()
    assert sample.ram is None
    assert [gpu.state for gpu in sample.gpus] == [GpuState.OK]


def test_samples_of_several_threads_have_identities_of_their_own(nvml_stub: NvmlStub) -> None:
    nvml_stub.set(count=2)
    probe = LocalProbe(NvmlGpus(deadline_seconds=30))
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(lambda _: probe.sample(), range(40)))
    probe.close()
    assert {gpu.state for sample in samples for gpu in sample.gpus} == {GpuState.OK}
    assert len({(sample.boot_id, sample.sequence) for sample in samples}) == 40
    in_order = sorted(samples, key=lambda sample: sample.sequence)
    assert in_order == sorted(samples, key=lambda sample: sample.taken_at)


def test_two_probes_of_one_process_do_not_share_an_identity(nvml_stub: NvmlStub) -> None:
    first, second = LocalProbe().sample(), LocalProbe().sample()
    assert first.boot_id == second.boot_id
    assert first.sequence < second.sequence


def test_the_boot_id_names_the_boot_and_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_kernel_boot_id", lambda: "boot")
    boot_id.cache_clear()
    assert boot_id() == f"boot-{round(psutil.Process().create_time() * 1000)}"
    boot_id.cache_clear()


def test_the_host_names_itself() -> None:
    assert hostname() == socket.gethostname()


def test_ram_is_what_the_kernel_counts() -> None:
    ram = sample_ram()
    assert ram.total_bytes == psutil.virtual_memory().total
    assert ram.swap_total_bytes == psutil.swap_memory().total
    assert 0 <= ram.swap_used_bytes <= ram.swap_total_bytes
