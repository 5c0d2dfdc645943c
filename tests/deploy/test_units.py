"""The units of systemd start what the Makefile starts, and the papers name only settings that there are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from controlpanel.environment import DECLARED

ROOT: Path = settings.BASE_DIR
PAPERS = [ROOT / "docs/production.md", *sorted((ROOT / "deploy/systemd").glob("*")), *(ROOT / "deploy/nginx").glob("*")]


@pytest.mark.parametrize("process", ["web", "worker", "reconciler"])
def test_a_unit_starts_what_make_starts(process: str) -> None:
    make = ["make", "--no-print-directory", "--dry-run", "--old-file=install", process]
    recipe = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    unit = (ROOT / f"deploy/systemd/berth-{process}.service").read_text()
    started = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert started
    assert started[1].replace("/opt/berth/", "") == recipe.removeprefix("exec ").strip()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_a_paper_names_only_settings_that_there_are(paper: Path) -> None:
    assert set(re.findall(r"\bBERTH_[A-Z_]+\b", paper.read_text())) <= set(DECLARED)
