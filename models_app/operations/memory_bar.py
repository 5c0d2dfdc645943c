"""What fills one GPU, as segments from its first byte on. Pure: figures in, segments out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models_app.operations.fleet_view import ModelView, Segment, SegmentKind
from models_app.probes.types import GpuSample, RamSample


class _Part(NamedTuple):
    kind: SegmentKind
    name: str
    size_bytes: int
    hue: int = 0


@dataclass(frozen=True, slots=True)
class Promise:
    """A reservation of a running operation: for which model, how much, and used VRAM when it was taken."""

    model_name: str
    hue: int
    reservation_bytes: int
    baseline_bytes: int

    def risen_bytes(self, used_bytes: int) -> int:
        """What has risen since, at most the reservation."""
        return max(0, min(self.reservation_bytes, used_bytes - self.baseline_bytes))

    def held_bytes(self, used_bytes: int) -> int:
        """What is still to rise; what an unload has freed since counts as a negative rise."""
        return max(0, self.reservation_bytes - (used_bytes - self.baseline_bytes)) if self.reservation_bytes else 0


@dataclass(frozen=True, slots=True)
class Filling:
    """The segments of a GPU and two of their sums in bytes."""

    segments: tuple[Segment, ...]
    held_bytes: int
    unexplained_bytes: int


def fill(gpu: GpuSample, models: Sequence[ModelView], others: Mapping[str, int], promises: Sequence[Promise]) -> Filling:
    """Lay out driver, models, other programs, the unexplained rest, and what is promised but not risen.

    A load's rise that is no model's share yet counts as the loading model's own. Claims beyond what the driver measured
    are cut, so that no stretch is longer than the truth.
    """
    models = _there(models)
    used = _cut([*_model_parts(gpu.uuid, models), *_other_parts(others)], gpu.used_bytes)
    left_bytes = gpu.used_bytes - sum(part.size_bytes for part in used)
    loading = _cut(_rising_parts(gpu, models, promises), left_bytes)
    left_bytes -= sum(part.size_bytes for part in loading)
    held = [
        _Part(SegmentKind.PENDING, promise.model_name, promise.held_bytes(gpu.used_bytes), promise.hue)
        for promise in promises
    ]
    driver = _Part(SegmentKind.DRIVER, "", gpu.driver_reserved_bytes)
    unexplained = _Part(SegmentKind.UNEXPLAINED, "", left_bytes)
    segments = _placed([driver, *used, unexplained, *loading, *held], gpu.total_bytes)
    return Filling(segments, sum(part.size_bytes for part in held), left_bytes)


def fill_ram(ram: RamSample, models: Sequence[ModelView]) -> tuple[Segment, ...]:
    """Models that run on the CPU, by their endpoint's word, then everything else that is in use."""
    used_bytes = ram.total_bytes - ram.available_bytes
    parts = _cut(
        [_Part(SegmentKind.WEIGHTS, model.name, model.cpu_bytes, model.hue) for model in _there(models)], used_bytes
    )
    rest = _Part(SegmentKind.OTHER, "other programs", used_bytes - sum(part.size_bytes for part in parts))
    return _placed([*parts, rest], ram.total_bytes)


def _there(models: Iterable[ModelView]) -> list[ModelView]:
    """Without those of which nobody knows whether they are still in memory: what they held may be another's now."""
    return [model for model in models if model.last_seen_at is None]


def _rising_parts(gpu: GpuSample, models: Sequence[ModelView], promises: Sequence[Promise]) -> Iterable[_Part]:
    attributed = {model.name for model in models if model.gpu_bytes.get(gpu.uuid)}
    for promise in promises:
        if promise.model_name not in attributed:
            yield _Part(SegmentKind.WEIGHTS, promise.model_name, promise.risen_bytes(gpu.used_bytes), promise.hue)


def _other_parts(others: Mapping[str, int]) -> Iterable[_Part]:
    return (_Part(SegmentKind.OTHER, name, size_bytes) for name, size_bytes in others.items())


def _model_parts(uuid: str, models: Sequence[ModelView]) -> Iterable[_Part]:
    for model in models:
        size_bytes = model.gpu_bytes.get(uuid, 0)
        everywhere = model.vram_bytes + model.cpu_bytes
        kv_bytes = min(size_bytes, model.kv_bytes * size_bytes // everywhere) if everywhere else 0
        yield _Part(SegmentKind.WEIGHTS, model.name, size_bytes - kv_bytes, model.hue)
        yield _Part(SegmentKind.KV, model.name, kv_bytes, model.hue)


def _cut(parts: Iterable[_Part], limit_bytes: int) -> list[_Part]:
    cut: list[_Part] = []
    for part in parts:
        size_bytes = min(part.size_bytes, limit_bytes)
        limit_bytes -= size_bytes
        cut.append(part._replace(size_bytes=size_bytes))
    return cut


def _placed(parts: Iterable[_Part], total_bytes: int) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    offset_bytes = 0
    for part in _cut(parts, total_bytes):
        if part.size_bytes > 0:
            segments.append(Segment(part.kind, part.name, part.hue, offset_bytes, part.size_bytes))
            offset_bytes += part.size_bytes
    return tuple(segments)
