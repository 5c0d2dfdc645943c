"""Recommended configurations are found by the memory that a machine really reports."""

from __future__ import annotations

import pytest

from models_app.estimator.tiers import DEFAULT_TIERS, TierKind, tier_for

GIB = 1024**3
MIB = 1024**2


@pytest.mark.parametrize("kind", TierKind)
def test_the_shipped_ranges_of_a_kind_follow_each_other_without_a_gap(kind: TierKind) -> None:
    ranges = [(tier.from_bytes, tier.to_bytes) for tier in DEFAULT_TIERS if tier.kind is kind]
    assert [high for _, high in ranges] == [low for low, _ in ranges[1:]] + [None]


@pytest.mark.parametrize(
    ("memory_bytes", "kind", "name"),
    [
        (24_564 * MIB, TierKind.VRAM, "24 GB GPU"),
        (8_188 * MIB, TierKind.VRAM, "8 GB GPU"),
        (2 * 24_564 * MIB, TierKind.VRAM, "48 GB of VRAM"),
        (1024 * GIB, TierKind.VRAM, "96 GB of VRAM"),
        (31 * GIB, TierKind.CPU_ONLY, "CPU, 32 GB RAM"),
        (119 * GIB, TierKind.UNIFIED, "Unified, 64 GB"),
        (121 * GIB, TierKind.UNIFIED, "Unified, 128 GB"),
    ],
)
def test_a_card_that_reports_a_little_less_than_its_name_is_in_the_tier_of_its_name(
    memory_bytes: int, kind: TierKind, name: str
) -> None:
    found = tier_for(memory_bytes, kind)
    assert found is not None
    assert found.name == name


def test_a_machine_below_the_smallest_tier_has_none() -> None:
    assert tier_for(2 * GIB, TierKind.VRAM) is None
