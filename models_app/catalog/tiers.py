"""The table of recommended configurations by hardware: as shipped until an admin changes it, and again after a reset."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models, transaction

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.estimator.tiers import DEFAULT_TIERS, Tier, TierKind, tier_for

MOST_TIERS = 60
MOST_MEMORY_BYTES = 2**50
MOST_CONTEXT_LENGTH = 100_000_000
LONGEST = {"name": 60, "model_sizes": 120, "quantization": 80, "strategy": 160, "note": 160}
"""The most characters of each column of words."""


class HardwareTier(models.Model):
    """One row of the table, once it differs from what is shipped: then every row is here. Memory is in bytes."""

    position = models.IntegerField()
    name = models.CharField(max_length=LONGEST["name"])
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in TierKind])
    from_bytes = models.BigIntegerField()
    to_bytes = models.BigIntegerField(null=True)
    model_sizes = models.CharField(max_length=LONGEST["model_sizes"])
    quantization = models.CharField(max_length=LONGEST["quantization"])
    context_length = models.IntegerField()
    strategy = models.CharField(max_length=LONGEST["strategy"])
    note = models.CharField(max_length=LONGEST["note"], blank=True)

    class Meta:
        ordering = ["position"]

    def __str__(self) -> str:
        return self.name


class TierRefused(ValueError):
    """A table that makes no sense. ``row`` counts from 0; ``field`` is the column at fault."""

    def __init__(self, message: str, row: int = 0, field: str = "") -> None:
        super().__init__(message)
        self.message, self.row, self.field = message, row, field


def tiers() -> tuple[Tier, ...]:
    """The table in force."""
    return tuple(_tier(row) for row in HardwareTier.objects.all()) or DEFAULT_TIERS


def is_edited() -> bool:
    """Whether the table is no longer the one that was shipped."""
    return HardwareTier.objects.exists()


def tier_of(memory_bytes: int, kind: TierKind) -> Tier | None:
    """The row that is about a machine with so much memory of this kind."""
    return tier_for(memory_bytes, kind, tiers())


@transaction.atomic
def replace_tiers(actor: Actor, chosen: Sequence[Tier]) -> None:
    """Make this the table. Raises ``TierRefused``, and then nothing has changed."""
    _check(chosen)
    before = {tier.name: tier for tier in tiers()}
    if tuple(chosen) == tuple(before.values()):
        return
    HardwareTier.objects.all().delete()
    rows = (
        HardwareTier(position=place, **{name: getattr(tier, name) for name in _COLUMNS})
        for place, tier in enumerate(chosen)
    )
    HardwareTier.objects.bulk_create(rows)
    after = {tier.name: tier for tier in chosen}
    changed = [name for name in after if name in before and before[name] != after[name]]
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    audit.record(actor, "tiers.change", added=added, removed=removed, changed=changed)


@transaction.atomic
def reset_tiers(actor: Actor) -> None:
    """Back to the table as shipped."""
    if HardwareTier.objects.all().delete()[0]:
        audit.record(actor, "tiers.reset")


def _check(chosen: Sequence[Tier]) -> None:
    if not chosen:
        raise TierRefused("The table needs at least one row; reset it to have the shipped one back.")
    if len(chosen) > MOST_TIERS:
        raise TierRefused(f"The table has at most {MOST_TIERS} rows.", MOST_TIERS)
    for row, tier in enumerate(chosen):
        _check_row(row, tier)
        for other in chosen[:row]:
            if other.name == tier.name:
                raise TierRefused(f"There are two rows called {tier.name}.", row, "name")
            if other.kind is tier.kind and _overlap(other, tier):
                raise TierRefused(f"Its range overlaps that of {other.name}.", row, "from_bytes")


def _check_row(row: int, tier: Tier) -> None:
    for name in ("name", "model_sizes", "quantization", "strategy"):
        if not getattr(tier, name).strip():
            raise TierRefused("Say something here.", row, name)
    for name, longest in LONGEST.items():
        if len(getattr(tier, name)) > longest or "\x00" in getattr(tier, name):
            raise TierRefused(f"At most {longest} characters.", row, name)
    if not 0 <= tier.from_bytes < MOST_MEMORY_BYTES:
        raise TierRefused("A memory size from 0 up.", row, "from_bytes")
    if tier.to_bytes is not None and not tier.from_bytes < tier.to_bytes < MOST_MEMORY_BYTES:
        raise TierRefused("More than where the range begins, or nothing for no upper end.", row, "to_bytes")
    if not 1 <= tier.context_length <= MOST_CONTEXT_LENGTH:
        raise TierRefused("A number of tokens from 1 up.", row, "context_length")


def _overlap(one: Tier, other: Tier) -> bool:
    ends = [tier.to_bytes or MOST_MEMORY_BYTES for tier in (one, other)]
    return max(one.from_bytes, other.from_bytes) < min(ends)


_COLUMNS = tuple(Tier.__dataclass_fields__)


def _tier(row: HardwareTier) -> Tier:
    values = {name: getattr(row, name) for name in _COLUMNS}
    return Tier(**values | {"kind": TierKind(row.kind)})
