"""Simulated agents report to a real panel, processes of which die or are restarted: every sample is read back once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from benchmarks._restartable_panel import Panel
from benchmarks.fleet_scale import counts, read_back, simulator
from models_app.agent_link.switchboard import LINES_HERE
from tests.panels import wait_until

pytestmark = pytest.mark.real


def taking_in(panel: Panel) -> list[psutil.Process]:
    """The processes beside the panel's own that take in what agents report."""
    children = [child for process in panel.processes for child in psutil.Process(process.pid).children(recursive=True)]
    return [child for child in children if "takein" in child.cmdline()]


def test_no_sample_is_lost_or_doubled_when_processes_die_and_the_panel_restarts(tmp_path: Path) -> None:
    panel, report, began = Panel(tmp_path), tmp_path / "report.json", datetime.now(UTC)
    panel.start()
    try:
        with simulator(panel, LINES_HERE + 5, 1, 10, report) as simulating:
            wait_until(lambda: taking_in(panel), "more hosts than one process takes in")
            time.sleep(2)  # some samples are stored by it, some are not
            taking_in(panel)[0].kill()
            time.sleep(3)  # and some by the panel's own process
            left = taking_in(panel)
            panel.stop()
            assert not [process for process in left if process.is_running()]
            panel.start()
            wait_until(lambda: taking_in(panel), "the hosts to return")
            simulating.wait(120)
        rows = json.loads(report.read_text())
        sent, unconfirmed, dropped = (sum(column) for column in zip(*map(counts, rows), strict=True))
        assert sent > (LINES_HERE + 5) * 8
        assert (unconfirmed, dropped) == (0, 0)
        assert read_back(panel, {uuid for row in rows for uuid in row["gpus"]}, began) == sent
    finally:
        panel.stop()
