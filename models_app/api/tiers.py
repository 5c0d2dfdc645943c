"""``/hardware-tiers``: recommended configurations by hardware, replaced and reset as one table."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic import ConfigDict

from models_app.api.auth import acting
from models_app.api.errors import Problem
from models_app.catalog.tiers import LONGEST, MOST_TIERS, TierRefused, is_edited, replace_tiers, reset_tiers, tiers
from models_app.estimator.tiers import Tier, TierKind


def _words(name: str) -> str:
    described: str = Field(max_length=LONGEST[name])
    return described


class TierRow(Schema):
    """One row. It is about ``from_bytes`` up to ``to_bytes`` of memory, null having no upper end: the VRAM of all GPUs
    together (``vram``), RAM without a GPU (``cpu_only``), or memory that both share (``unified``)."""

    model_config = ConfigDict(extra="forbid")

    name: str = _words("name")
    kind: TierKind
    from_bytes: int = Field(ge=0)
    to_bytes: int | None = Field(default=None, ge=1)
    model_sizes: str = _words("model_sizes")
    quantization: str = _words("quantization")
    context_length: int = Field(ge=1, le=100_000_000)
    strategy: str = _words("strategy")
    note: str = Field(default="", max_length=LONGEST["note"])


class TiersIn(Schema):
    """The whole table."""

    model_config = ConfigDict(extra="forbid")

    tiers: list[TierRow] = Field(min_length=1, max_length=MOST_TIERS)


class TiersOut(Schema):
    """The table in force; ``is_edited`` says whether it differs from the shipped one."""

    is_edited: bool
    tiers: list[TierRow]


router = Router(tags=["models"])


@router.get("", response=TiersOut, summary="Recommended configurations by hardware")
def get_tiers(request: HttpRequest) -> TiersOut:
    """Rules of thumb from published guides, unless an admin has edited them."""
    return _told()


@router.put("", response=TiersOut, summary="Replace the recommended configurations")
def put_tiers(request: HttpRequest, body: TiersIn) -> TiersOut:
    """Every row at once. Ranges of one kind must not overlap, and names must differ."""
    try:
        replace_tiers(acting(request), [Tier(**row.dict()) for row in body.tiers])
    except TierRefused as refused:
        field = f"tiers.{refused.row}.{refused.field}" if refused.field else "tiers"
        raise Problem(422, "invalid_tiers", refused.message, field=field) from None
    return _told()


@router.delete("", response=TiersOut, summary="Reset the recommended configurations to the shipped ones")
def delete_tiers(request: HttpRequest) -> TiersOut:
    """What was edited is lost."""
    reset_tiers(acting(request))
    return _told()


def _told() -> TiersOut:
    return TiersOut(is_edited=is_edited(), tiers=[_row(tier) for tier in tiers()])


def _row(tier: Tier) -> TierRow:
    return TierRow(**{name: getattr(tier, name) for name in TierRow.model_fields})
