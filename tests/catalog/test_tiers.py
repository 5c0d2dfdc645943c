"""The table of recommended configurations: shipped, edited, audited, reset."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL
from models_app.catalog.tiers import TierRefused, is_edited, replace_tiers, reset_tiers, tier_of, tiers
from models_app.estimator.tiers import DEFAULT_TIERS, Tier, TierKind

pytestmark = pytest.mark.django_db
GIB = 1024**3
FIRST = DEFAULT_TIERS[0]


def test_the_table_is_the_shipped_one_until_somebody_changes_it() -> None:
    assert tiers() == DEFAULT_TIERS
    replace_tiers(PANEL, DEFAULT_TIERS)
    assert not is_edited()
    assert not AuditEntry.objects.exists()


def test_an_edited_table_is_kept_whole_and_audited() -> None:
    table = (replace(FIRST, quantization="Q8_0"), *DEFAULT_TIERS[2:])
    replace_tiers(PANEL, table)
    assert tiers() == table
    entry = AuditEntry.objects.get(action="tiers.change")
    assert entry.detail == {"added": [], "removed": [DEFAULT_TIERS[1].name], "changed": [FIRST.name]}
    assert tier_of(10 * GIB, TierKind.VRAM) is None


def test_a_reset_brings_the_shipped_rows_back() -> None:
    replace_tiers(PANEL, [FIRST])
    reset_tiers(PANEL)
    reset_tiers(PANEL)
    assert (tiers(), is_edited()) == (DEFAULT_TIERS, False)
    assert AuditEntry.objects.filter(action="tiers.reset").count() == 1


@pytest.mark.parametrize(
    ("table", "row", "field"),
    [
        ([], 0, ""),
        ([replace(FIRST, name=" ")], 0, "name"),
        ([replace(FIRST, strategy="x" * 161)], 0, "strategy"),
        ([replace(FIRST, note="a\x00b")], 0, "note"),
        ([replace(FIRST, to_bytes=FIRST.from_bytes)], 0, "to_bytes"),
        ([replace(FIRST, from_bytes=2**60)], 0, "from_bytes"),
        ([replace(FIRST, context_length=0)], 0, "context_length"),
        ([FIRST, FIRST], 1, "name"),
        ([FIRST, replace(FIRST, name="other", to_bytes=None)], 1, "from_bytes"),
        ([replace(FIRST, name=str(number), from_bytes=number, to_bytes=number + 1) for number in range(61)], 60, ""),
    ],
)
def test_a_table_that_makes_no_sense_changes_nothing(table: list[Tier], row: int, field: str) -> None:
    with pytest.raises(TierRefused) as caught:
        replace_tiers(PANEL, table)
    assert (caught.value.row, caught.value.field) == (row, field)
    assert not is_edited()


def test_ranges_of_different_memories_may_overlap() -> None:
    replace_tiers(PANEL, [FIRST, replace(FIRST, name="other", kind=TierKind.UNIFIED)])
    assert len(tiers()) == 2
