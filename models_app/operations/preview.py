"""Whether a model will fit: a quick estimate against what is measured free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.probes.types import HostSample


class Verdict(StrEnum):
    """The answer of a preview."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Room:
    """What one device offers, in bytes, and what the load would take of it.

    ``uuid`` is empty for the host's RAM, which counts only on a machine without GPUs. ``held_bytes`` is promised to running
    operations and has not risen yet; ``freed_bytes`` is what the models to be unloaded give back. ``available_bytes`` =
    free − held − headroom + freed; ``take_bytes`` is the estimate's share here, 0 where the device is not chosen.
    """

    uuid: str
    name: str
    total_bytes: int
    free_bytes: int
    held_bytes: int
    headroom_bytes: int
    freed_bytes: int
    available_bytes: int
    take_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Freeable:
    """A loaded model on the same host, not pinned, whose unloading would free ``gpu_bytes``."""

    loaded_model_id: int
    name: str
    endpoint_name: str
    gpu_bytes: int


@dataclass(frozen=True, slots=True)
class FitPreview:
    """The reckoning. Terms are ``None`` where unknown, and ``unknown`` says in words what is; all figures are bytes.

    ``needed_bytes`` is the sum of the known terms on the devices, the truth expected within ± ``error_bytes``.
    ``shortfall_bytes`` is what is missing, 0 where it fits. ``would_free`` are the models, largest first, that together
    would make room; empty where none are needed or even all of them would not do.
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

    @property
    def chosen(self) -> tuple[Room, ...]:
        """The devices that the load is expected to land on."""
        return tuple(room for room in self.rooms if room.take_bytes)


def fit_preview(
    endpoint: Endpoint,
    model: str,
    options: LoadOptions,
    *,
    unload: Sequence[LoadedModel] = (),
    sample: HostSample | None = None,
) -> FitPreview:
    """Whether ``model`` fits on ``endpoint`` with ``options`` once ``unload`` are gone.

    ``model`` is the endpoint's own name for it. ``sample`` defaults to a fresh sweep of the host. Never raises for a
    model without known numbers: the verdict is then ``unknown``.
    """
    raise NotImplementedError
