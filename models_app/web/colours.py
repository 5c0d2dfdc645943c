"""Which colour each model has on a host. A model keeps its own colour wherever it is not taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from models_app.operations.fleet_view import HostView, Segment, SegmentKind

COLOURS = 12
"""The colours ``m1`` to ``m12`` of the style sheet."""

_COLOURED = (SegmentKind.WEIGHTS, SegmentKind.KV, SegmentKind.PENDING)


def host_colours(host: HostView) -> dict[int, int]:
    """The colour, from 0, of every hue on the host.

    Two models on one GPU never share one, two on the host only where there are more models than colours. Where two want
    the same, the one that was there first has it.
    """
    devices = [_hues(gpu.segments) | {model.hue for model in gpu.models} for gpu in host.gpus]
    devices.append(_hues(host.ram_segments) | {model.hue for model in host.elsewhere})
    first_come = {model.hue: model.id for model in sorted(host.models, key=lambda model: -model.id)}
    hues = sorted(set().union(*devices), key=lambda hue: (hue not in first_come, first_come.get(hue, 0), hue))
    return spread(devices, hues)


def spread(devices: Sequence[AbstractSet[int]], hues: Iterable[int]) -> dict[int, int]:
    """A colour for each hue, those first in line before others; ``devices`` are the hues that lie side by side."""
    chosen: dict[int, int] = {}
    for hue in hues:
        beside = {chosen[other] for device in devices if hue in device for other in device if other in chosen}
        chosen[hue] = _free_colour(hue, beside, set(chosen.values()))
    return chosen


def _free_colour(hue: int, beside: set[int], on_host: set[int]) -> int:
    """The hue's own colour or the next one that is free: on the host, else at least on its own GPUs."""
    ring = [(hue + step) % COLOURS for step in range(COLOURS)]
    for taken in (on_host, beside):
        if free := [colour for colour in ring if colour not in taken]:
            return free[0]
    return ring[0]


def _hues(segments: tuple[Segment, ...]) -> set[int]:
    return {part.hue for part in segments if part.kind in _COLOURED}
