"""`make accept` has to refuse a panel that does not measure. That it accepts one that does, it shows by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.browser]

ROOT = Path(__file__).resolve().parents[2]


def accept(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.acceptance"]
    given = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=300, check=False)


def test_a_panel_that_believes_what_it_is_told_is_not_accepted() -> None:
    run = accept(BERTH_TEST_SKIP_VERIFICATION="1")
    assert "FAILED  Load m500: the panel has not measured it" in run.stdout, run.stdout + run.stderr
    assert "FAILED  Swap m500 for m100: the panel has not measured it" in run.stdout
    assert run.returncode == 1
