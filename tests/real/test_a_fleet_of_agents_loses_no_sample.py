"""Simulated agents report to a real panel that is restarted meanwhile: every sample is read back once."""

from __future__ import annotations

import pytest

from benchmarks.fleet_scale import measure

pytestmark = pytest.mark.real


def test_no_sample_is_lost_or_doubled_when_the_panel_restarts() -> None:
    outcome = measure(hosts=5, gpus=2, seconds=10)
    assert outcome.sent > 5 * 2 * 20
    assert (outcome.lost, outcome.unconfirmed) == (0, 0)
