"""What fills one GPU, as segments from its first byte on. Pure: figures in, segments out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models_app.operations.fleet_view import ModelView, Segment, SegmentKind
from models_app.probes.types import GpuProcess, GpuSample


@dataclass(frozen=True, slots=True)
class Promise:
    """A reservation of a running operation: for which model, how much, and used VRAM when it was taken."""

    model_name: str
    reservation_bytes: int
    baseline_bytes: int

    def risen_bytes(self, used_bytes: int) -> int:
        """What has risen since, at most the reservation."""
        return max(0, min(self.reservation_bytes, used_bytes - self.baseline_bytes))


@dataclass(frozen=True, slots=True)
class Filling:
    """The segments of a GPU and two of their sums in bytes."""

    segments: tuple[Segment, ...]
    held_bytes: int
    unexplained_bytes: int


def fill(gpu: GpuSample, models: Sequence[ModelView], others: Iterable[GpuProcess], promises: Sequence[Promise]) -> Filling:
    """Lay out driver, models, other processes, the unexplained rest, and what is promised but not risen.

    A load's rise that no process figure explains yet counts as the loading model's own. Segments never exceed what the
    driver measured: claims beyond it are cut.
    """
    parts: list[tuple[SegmentKind, str, int]] = [(SegmentKind.DRIVER, "", gpu.driver_reserved_bytes)]
    left = gpu.used_bytes
    for kind, name, wanted_bytes in [*_model_parts(gpu.uuid, models), *_other_parts(others)]:
        parts.append((kind, name, min(left, wanted_bytes)))
        left -= min(left, wanted_bytes)
    attributed = {model.name for model in models if gpu.uuid in model.gpu_bytes}
    held_bytes = 0
    pending: list[tuple[SegmentKind, str, int]] = []
    for promise in promises:
        risen_bytes = promise.risen_bytes(gpu.used_bytes)
        if promise.model_name not in attributed:
            parts.append((SegmentKind.WEIGHTS, promise.model_name, min(left, risen_bytes)))
            left -= min(left, risen_bytes)
        held_bytes += promise.reservation_bytes - risen_bytes
        pending.append((SegmentKind.PENDING, promise.model_name, promise.reservation_bytes - risen_bytes))
    parts.append((SegmentKind.UNEXPLAINED, "", left))
    return Filling(_placed([*parts, *pending], gpu.total_bytes), held_bytes, left)


def _model_parts(uuid: str, models: Sequence[ModelView]) -> Iterable[tuple[SegmentKind, str, int]]:
    for model in models:
        size_bytes = model.gpu_bytes.get(uuid, 0)
        everywhere = model.vram_bytes + model.cpu_bytes
        kv_bytes = min(size_bytes, model.kv_bytes * size_bytes // everywhere) if everywhere else 0
        yield SegmentKind.WEIGHTS, model.name, size_bytes - kv_bytes
        yield SegmentKind.KV, model.name, kv_bytes


def _other_parts(others: Iterable[GpuProcess]) -> Iterable[tuple[SegmentKind, str, int]]:
    for process in others:
        yield SegmentKind.OTHER, process.name or f"process {process.pid}", process.used_bytes or 0


def _placed(parts: Iterable[tuple[SegmentKind, str, int]], total_bytes: int) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    offset_bytes = 0
    for kind, name, size_bytes in parts:
        size_bytes = min(size_bytes, total_bytes - offset_bytes)
        if size_bytes > 0:
            segments.append(Segment(kind, name, offset_bytes, size_bytes))
            offset_bytes += size_bytes
    return tuple(segments)
