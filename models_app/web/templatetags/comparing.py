"""Filters of a model's page: what its variants need, and how estimates turned out. A built-in by the settings."""

from __future__ import annotations

from collections.abc import Sequence

from django import template

from models_app.estimator.tiers import Tier
from models_app.operations.compare import Comparison, Need
from models_app.operations.measurements import LoadMeasurement
from models_app.web.measured_chart import Chart, chart, off_percent
from models_app.web.templatetags.berth import GIB

register = template.Library()


@register.filter
def need_at(compared: Comparison, context_length: int) -> Need | None:
    """What a variant needs at a context."""
    return compared.need_at(context_length)


@register.filter
def what_helps(compared: Comparison) -> str:
    """What would tell what a variant needs, where nobody knows."""
    modes = {place.installation.endpoint.mode for place in compared.places}
    if not modes:
        return "It is installed nowhere, so that nobody can be asked."
    if modes & {"router", "single"}:
        size = "" if compared.variant.file_size_bytes else "Load it once: its size is then known and kept. "
        return (
            f"A llama-server tells the size of a model only while it is loaded, and never its layers. {size}"
            "Its header, which tells them, is read where the panel runs on the server's machine."
        )
    return "Its header could not be read yet; the endpoint is asked again every minute."


@register.filter
def measured_chart(rows: Sequence[LoadMeasurement]) -> Chart | None:
    """Estimated against measured; nothing where there are too few loads."""
    return chart(rows)


@register.filter
def memory_range(tier: Tier) -> str:
    """The memory that a tier is about: 24 to 48 GiB, from 96 GiB."""
    low = f"{tier.from_bytes / GIB:g}"
    return f"from {low} GiB" if tier.to_bytes is None else f"{low} to {tier.to_bytes / GIB:g} GiB"


@register.filter
def off_by(row: LoadMeasurement) -> str:
    """How much more was measured than estimated, in percent of the estimate."""
    percent = off_percent(row)
    return "–" if percent is None else f"{percent:+.1f} %"
