"""What is remembered of a GPU: its own figures, and whose its used bytes were.

A share's column is named ``model:ENDPOINT_ID:NAME``, ``other:PROGRAM`` or ``unexplained:``; it is 0 where a sample has
none, so that the shares of a GPU add up to its used bytes at every moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from models_app.inventory.models import LoadedModel
from models_app.probes.types import GpuSample
from models_app.telemetry.division import GpuShares
from models_app.telemetry.history.tables import UNKNOWN

MOST_OTHERS = 12
"""Programs of one sample that get a series of their own; the smaller ones share one."""
SMALLER_PROGRAMS = "smaller programs"
NAME_CHARACTERS = 200

Models = Mapping[int, LoadedModel]
"""The rows by which the shares of a sample are keyed."""


class Kind(StrEnum):
    """What a series shows."""

    USED = "used_bytes"
    UTILIZATION = "utilization_percent"
    TEMPERATURE = "temperature_celsius"
    POWER = "power_milliwatts"
    MODEL = "model_bytes"
    OTHER = "other_bytes"
    UNEXPLAINED = "unexplained_bytes"


FIGURES = {"used": Kind.USED, "utilization": Kind.UTILIZATION, "temperature": Kind.TEMPERATURE, "power": Kind.POWER}
"""The GPU's own figures, by column."""
SHARES = (Kind.MODEL, Kind.OTHER, Kind.UNEXPLAINED)


@dataclass(frozen=True, slots=True)
class Key:
    """Which series: its kind, and for a share the model's or program's name and the model's endpoint."""

    kind: Kind
    name: str = ""
    endpoint_id: int | None = None

    @property
    def column(self) -> str:
        """Its column in a chunk."""
        if self.kind is Kind.MODEL:
            return f"model:{self.endpoint_id}:{self.name}"
        if self.kind is Kind.OTHER:
            return f"other:{self.name}"
        return "unexplained:" if self.kind is Kind.UNEXPLAINED else self.kind.split("_", maxsplit=1)[0]


def key_of(column: str) -> Key:
    """The series of a column. Raises ``ValueError`` or ``KeyError`` for a column that is none."""
    word, _, rest = column.partition(":")
    if word == "model":
        endpoint_id, _, name = rest.partition(":")
        return Key(Kind.MODEL, name, int(endpoint_id))
    if word == "other":
        return Key(Kind.OTHER, rest)
    return Key(Kind.UNEXPLAINED) if word == "unexplained" else Key(FIGURES[column])


def figures_of(gpu: GpuSample) -> tuple[float, ...]:
    """The GPU's own figures in one sample, in the order of ``FIGURES``."""
    return (
        gpu.used_bytes,
        UNKNOWN if gpu.utilization_percent is None else gpu.utilization_percent,
        UNKNOWN if gpu.temperature_celsius is None else gpu.temperature_celsius,
        UNKNOWN if gpu.power_milliwatts is None else gpu.power_milliwatts,
    )


def shares_row(shares: GpuShares, models: Models) -> dict[str, float]:
    """Whose its bytes are, by column."""
    row: dict[str, float] = {}
    for row_id, share in shares.models.items():
        if row_id in models:
            model = models[row_id]
            row[Key(Kind.MODEL, model.name[:NAME_CHARACTERS], model.endpoint_id).column] = float(share.bytes)
    for name, count_bytes in _largest(shares.others):
        column = Key(Kind.OTHER, name[:NAME_CHARACTERS]).column
        row[column] = row.get(column, 0) + count_bytes
    if shares.unexplained_bytes:
        row[Key(Kind.UNEXPLAINED).column] = float(shares.unexplained_bytes)
    return row


def _largest(others: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    ranked = sorted(others.items(), key=lambda item: -item[1])
    rest_bytes = sum(count for _, count in ranked[MOST_OTHERS:])
    return [*ranked[:MOST_OTHERS], *([(SMALLER_PROGRAMS, rest_bytes)] if rest_bytes else [])]
