"""The answer to whether a model will fit, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models_app.estimator.types import Grade
from models_app.operations.rooms import Room


class Verdict(StrEnum):
    """The answer of a preview."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Freeable:
    """A loaded model of the endpoint, not pinned, whose unloading would free ``gpu_bytes``."""

    loaded_model_id: int
    name: str
    gpu_bytes: int


@dataclass(frozen=True, slots=True)
class FitPreview:
    """The reckoning. Terms are ``None`` where unknown, and ``unknown`` says in words what is; all figures are bytes.

    ``needed_bytes`` is the sum of the known terms on the devices, the truth expected within ± ``error_bytes``.
    Each of ``rooms`` has its own share, band and terms. ``overhead_bytes`` are driver contexts and buffers, of which
    ``compute_bytes`` are compute buffers (0 in the quick grade); ``ram_bytes`` stays in the host's RAM. ``grade`` names
    the evidence. ``shortfall_bytes`` is what is missing, 0 where it fits. ``would_free`` are the models, largest first,
    that together would make room; empty where none are needed or even all of them would not do.
    """

    verdict: Verdict
    sentence: str
    weights_bytes: int | None
    kv_bytes: int | None
    overhead_bytes: int
    needed_bytes: int | None
    error_bytes: int
    context_length: int
    rooms: tuple[Room, ...]
    shortfall_bytes: int = 0
    would_free: tuple[Freeable, ...] = ()
    unknown: tuple[str, ...] = ()
    grade: Grade = Grade.QUICK
    build_profile: str = ""
    compute_bytes: int = 0
    ram_bytes: int = 0

    @property
    def chosen(self) -> tuple[Room, ...]:
        """The devices that the load is expected to land on."""
        return tuple(room for room in self.rooms if room.take_bytes)

    @property
    def model_bytes(self) -> int | None:
        """Weights and KV cache on the devices; ``None`` where the weights are unknown."""
        return None if self.weights_bytes is None else self.weights_bytes + (self.kv_bytes or 0)

    def as_row(self) -> dict[str, Any]:
        """What an operation keeps of it."""
        return {
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "weights_bytes": self.weights_bytes,
            "kv_bytes": self.kv_bytes,
            "overhead_bytes": self.overhead_bytes,
            "needed_bytes": self.needed_bytes,
            "model_bytes": self.model_bytes,
            "error_bytes": self.error_bytes,
            "context_length": self.context_length,
            "shortfall_bytes": self.shortfall_bytes,
            "devices": {room.uuid: room.take_bytes for room in self.chosen},
            "grade": self.grade.value,
            "build_profile": self.build_profile,
            "compute_bytes": self.compute_bytes,
            "ram_bytes": self.ram_bytes,
            "unknown": list(self.unknown),
        }
