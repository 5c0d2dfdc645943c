"""What a what-if supposes: GPUs that are gone, GPUs that are not there yet, another headroom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_ADDED = 16
LEAST_GPU_BYTES, MOST_GPU_BYTES = 1024**3, 1024**4
MOST_HEADROOM_PERCENT = 50
ANY_GPU = "Imaginary GPU"
IMAGINARY = "imaginary-"
"""How the id of a GPU begins that is not there."""


class InvalidChanges(ValueError):
    """A what-if that makes no sense. ``code`` is stable; the message says what to give instead."""

    code = "invalid_changes"

    def __init__(self, message: str, field: str = "") -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class AddedGpu:
    """An imaginary GPU of ``bytes`` on a host that exists, seen by all its endpoints."""

    host: str
    bytes: int
    name: str = ANY_GPU


@dataclass(frozen=True, slots=True)
class Changes:
    """``removed_gpus`` are UUIDs; ``headroom_percent`` replaces the setting's share of every device."""

    removed_gpus: tuple[str, ...] = ()
    added_gpus: tuple[AddedGpu, ...] = ()
    headroom_percent: float | None = None

    def document(self) -> dict[str, Any]:
        """The changes as plain JSON, without those that are none."""
        added = [{"host": gpu.host, "bytes": gpu.bytes, "name": gpu.name} for gpu in self.added_gpus]
        given = {
            "removed_gpus": list(self.removed_gpus),
            "added_gpus": added,
            "headroom_percent": self.headroom_percent,
        }
        return {name: value for name, value in given.items() if value not in ([], None)}


NONE = Changes()


def read_changes(document: Mapping[str, Any]) -> Changes:
    """The changes of a document. Raises ``InvalidChanges``."""
    unknown = sorted(set(document) - {"removed_gpus", "added_gpus", "headroom_percent"})
    if unknown:
        raise InvalidChanges(f"There is no change “{unknown[0]}”.", unknown[0])
    removed, added = document.get("removed_gpus") or [], document.get("added_gpus") or []
    if not isinstance(removed, list) or not all(isinstance(each, str) and len(each) <= 96 for each in removed):
        raise InvalidChanges("The removed GPUs are a list of UUIDs.", "removed_gpus")
    if not isinstance(added, list) or len(added) > MOST_ADDED:
        raise InvalidChanges(f"The added GPUs are a list of at most {MOST_ADDED}.", "added_gpus")
    return Changes(tuple(removed), tuple(_added(each) for each in added), _headroom(document.get("headroom_percent")))


def _added(document: object) -> AddedGpu:
    if not isinstance(document, Mapping) or not isinstance(document.get("host"), str):
        raise InvalidChanges("An added GPU names a host and its size in bytes.", "added_gpus")
    size, name = document.get("bytes"), document.get("name") or ANY_GPU
    if not isinstance(size, int) or isinstance(size, bool) or not LEAST_GPU_BYTES <= size <= MOST_GPU_BYTES:
        raise InvalidChanges("An added GPU has from 1 GiB to 1 TiB, given in bytes.", "added_gpus")
    return AddedGpu(document["host"], size, str(name)[:120])


def _headroom(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_HEADROOM_PERCENT:
        raise InvalidChanges(f"The headroom is from 0 to {MOST_HEADROOM_PERCENT} percent.", "headroom_percent")
    return float(value)
