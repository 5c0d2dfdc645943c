"""Huge pages, pressure and disks, from folders that look like a machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_app.probes.disks import READ_SECONDS, ModelDisks
from models_app.probes.memory import oom_kills, sample_ram
from models_app.probes.types import MemoryPressure

MEMINFO = "MemTotal: 1 kB\nHugePages_Total:      10\nHugePages_Free:        4\nHugepagesize:       2048 kB\n"
PRESSURE = "some avg10=9.00 avg60=12.34 avg300=1.00 total=1\nfull avg10=0.00 avg60=3.21 avg300=0.00 total=1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/memory").write_text(PRESSURE)
    return tmp_path


def test_huge_pages_and_pressure_are_read(proc: Path) -> None:
    ram = sample_ram(proc)
    assert (ram.huge_pages_total_bytes, ram.huge_pages_free_bytes) == (10 * 2**21, 4 * 2**21)
    assert ram.pressure == MemoryPressure(12.34, 3.21)


@pytest.mark.parametrize("text", ["", "some nonsense\n", "full avg60=1.00\n"])
def test_a_kernel_that_does_not_tell_the_pressure_leaves_it_out(proc: Path, text: str) -> None:
    (proc / "pressure/memory").write_text(text)
    assert sample_ram(proc).pressure is None


def test_nothing_to_read_leaves_the_rest(tmp_path: Path) -> None:
    ram = sample_ram(tmp_path / "missing")
    assert ram.total_bytes > 0
    assert (ram.huge_pages_total_bytes, ram.pressure) == (0, None)


@pytest.mark.parametrize(("vmstat", "kills"), [("pgfault 9\noom_kill 3\nswap_ra 0\n", 3), ("pgfault 9\n", 0)])
def test_what_the_kernel_ended_for_lack_of_memory_is_counted(proc: Path, vmstat: str, kills: int) -> None:
    (proc / "vmstat").write_text(vmstat)
    assert oom_kills(proc) == kills


def test_each_file_system_is_told_once_by_a_folder_that_exists(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    [disk] = ModelDisks(lambda: (tmp_path / "missing", tmp_path / "a", tmp_path / "b")).sample()
    assert disk.path == str(tmp_path / "a")
    assert 0 < disk.free_bytes <= disk.total_bytes


def test_disks_are_read_now_and_then(tmp_path: Path) -> None:
    now = [0.0]
    asked: list[int] = []
    disks = ModelDisks(lambda: asked.append(1) or (tmp_path,), clock=lambda: now[0])  # type: ignore[func-returns-value]
    first = disks.sample()
    assert disks.sample() == first
    now[0] += READ_SECONDS
    disks.sample()
    assert len(asked) == 2


def test_a_folder_that_cannot_be_named_is_no_disk() -> None:
    def no_home() -> tuple[Path, ...]:
        raise RuntimeError("Could not determine home directory.")

    assert ModelDisks(no_home).sample() == ()
