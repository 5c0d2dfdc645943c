"""Filters of bars and sparklines: colours, and places to scale. A built-in by the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django import template
from django.conf import settings

from models_app.operations.fleet_view import HostView
from models_app.web.colours import COLOURS, host_colours
from models_app.web.templatetags.berth import GIB

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
