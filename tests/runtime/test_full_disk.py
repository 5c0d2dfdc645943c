"""A panel whose disk is full: it says so, loses nothing, and goes on when there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.panels import StartPanel
from tests.panels import Panel, wait_until

pytestmark = pytest.mark.real

SMALL_DISK = "24m"
LOAD = {"kind": "load", "endpoint": "atlas-ollama", "model": "gemma3:12b", "options": {"context_length": 8192}}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, as only root can make."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.fixture
def panel(disk: Path, start_panel: StartPanel) -> Panel:
    return start_panel(BERTH_DEMO="1", BERTH_DATA_DIR=str(disk / "data"))


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_full_disk_is_said_and_what_is_asked_after_it_is_done(panel: Panel, disk: Path) -> None:
    token = panel.manage("token", "create", "script", "--scope", "write").stdout.strip()
    with httpx.Client(base_url=f"{panel.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30) as script:
        filler = fill(disk)
        wait_until(lambda: "disk is full" in panel.log.read_text(), "the disk to be full")
        refused = script.post("/operations", json=LOAD).json()
        assert (refused["code"], "disk" in refused["detail"]) == ("disk_full", True)
        assert script.get("/hosts").status_code == 200
        assert httpx.get(f"{panel.url}/readyz").json()["parts"]["database"] == "The disk of the data folder is full."
        filler.unlink()
        wait_until(lambda: httpx.get(f"{panel.url}/readyz").status_code == 200, "the panel to be ready again")
        asked = script.post("/operations", json=LOAD)
        ended = script.get(f"{panel.url}{asked.headers['Location']}", params={"wait": 20}).json()
        assert ended["state"] == "succeeded"
        assert "Traceback" not in panel.log.read_text()
