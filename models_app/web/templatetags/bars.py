"""Filters of bars and sparklines: colours, and places to scale. A built-in by the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django import template
from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from models_app.operations.fleet_view import HostView, Segment, SegmentKind
from models_app.web.colours import COLOURS, host_colours
from models_app.web.templatetags.berth import GIB, in_bytes, short_name

register = template.Library()

_STEPS_GIB = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 512)


@register.filter
def colours(host: HostView) -> dict[int, int]:
    """The colour of each model on the host."""
    return host_colours(host)


@register.filter
def colour(hue: int, colours: Mapping[int, int]) -> str:
    """The class of a model's colour among those of its host."""
    return f"m{colours.get(hue, hue % COLOURS) + 1}"


@register.filter
def percent_of(part: float, whole: float) -> str:
    """A share as an SVG length, 12.34%."""
    return f"{100 * part / whole:.2f}%" if whole else "0%"


@register.filter
def percent(part: float, whole: float) -> float:
    """A share in percent, for comparisons in templates."""
    return 100 * part / whole if whole else 0


class _Label(NamedTuple):
    """The words in a segment: from which share on, in percent, and below which a narrow screen has no room for them."""

    least: float
    roomy: float
    words: str = "{name}"
    is_dark: bool = False


_LABELS = {
    SegmentKind.WEIGHTS: _Label(7, 20),
    SegmentKind.KV: _Label(4, 10, "KV", is_dark=True),
    SegmentKind.PENDING: _Label(9, 30, "loading {name}", is_dark=True),
    SegmentKind.SWAP: _Label(20, 101, is_dark=True),
    SegmentKind.OTHER: _Label(10, 101),
}
_CHARACTERS_A_PERCENT = 1.2
"""Of a bar of 895 pixels, in the label's bold type."""
_LEAST_CHARACTERS = 5
_TITLES = {
    SegmentKind.DRIVER: "Driver-reserved",
    SegmentKind.WEIGHTS: "{name}",
    SegmentKind.KV: "{name}: KV cache, by its shape",
    SegmentKind.OTHER: "{name}: another program",
    SegmentKind.SWAP: "Swap space for {name}",
    SegmentKind.PENDING: "Promised to {name}, not risen yet",
}
_HATCHED = {SegmentKind.PENDING, SegmentKind.SWAP}


@register.simple_tag
def bar_parts(segments: Sequence[Segment], total: int, colours: Mapping[int, int]) -> SafeString:
    """The segments of a bar. Written here, for they change with every sample: a template takes ten times as long."""
    return mark_safe("\n".join(_bar_part(part, total, colours) for part in segments))  # noqa: S308 - names are escaped


def _bar_part(part: Segment, total: int, colours: Mapping[int, int]) -> str:
    name = short_name(part.name)
    title = escape(f"{_TITLES.get(part.kind, 'Unexplained').format(name=name)}: {in_bytes(part.size_bytes)}")
    hatch = '<rect class="hatch" width="100%" height="28"/>' if part.kind in _HATCHED else ""
    return (
        f'<svg x="{percent_of(part.offset_bytes, total)}" width="{percent_of(part.size_bytes, total)}" height="28" '
        f'class="{colour(part.hue, colours)}"><title>{title}</title>'
        f'<rect class="{part.kind}" width="100%" height="28"/>{hatch}{_label(part, total, name)}'
        '<rect class="edge" x="100%" width="2" height="28" transform="translate(-1.5)"/></svg>'
    )


def _label(part: Segment, total: int, name: str) -> str:
    label, share = _LABELS.get(part.kind), percent(part.size_bytes, total)
    if label is None or share < label.least:
        return ""
    looks = " ".join(look for look, has in (("dark", label.is_dark), ("roomy", share < label.roomy)) if has)
    place = 8 if part.kind == SegmentKind.KV else 9
    return f'<text class="{looks}" x="{place}" y="18.5">{escape(_fitting(label.words.format(name=name), share))}</text>'


def _fitting(words: str, share: float) -> str:
    """The words as far as there is room for them in so many percent of a wide screen's bar."""
    most = max(_LEAST_CHARACTERS, int(share * _CHARACTERS_A_PERCENT) - 2)
    return words if len(words) <= most else f"{words[: most - 1]}…"


@register.filter
def scale_marks(total_bytes: int) -> list[tuple[str, str]]:
    """Round marks of a scale in GiB, three to five, as (place, number)."""
    total = total_bytes / GIB
    step = next((step for step in _STEPS_GIB if total / step <= 4.6), total / 4)
    marks = range(1, int(total / step - 0.6) + 1) if total else ()
    return [(f"{100 * mark * step / total:.2f}%", f"{mark * step:g}") for mark in marks]


@register.filter
def spark_points(values: Sequence[int], total: int) -> str:
    """A polyline in a box of 92 × 22, from 0 to ``total``."""
    if len(values) < 2 or not total:
        return ""
    step = 92 / (len(values) - 1)
    return " ".join(f"{place * step:.1f},{21 - 20 * min(1, value / total):.1f}" for place, value in enumerate(values))


@register.simple_tag
def threshold() -> str:
    """Where the bar shows its threshold mark, as an SVG length."""
    return f"{100 * settings.THRESHOLD_FRACTION:g}%"
