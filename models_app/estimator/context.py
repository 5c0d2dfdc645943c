"""How llama.cpp rounds what it is asked for: context, slots, batches, cells of the caches.

Source: ``llama_context::llama_context`` and ``llama_kv_cache_iswa``. All figures are tokens, cells or counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from models_app.estimator.profiles import BuildProfile
from models_app.estimator.shape import Shape
from models_app.estimator.types import LoadSettings

_PAD = 256


def padded(value: int, multiple: int) -> int:
    """``value`` rounded up to a multiple."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Context:
    """The sizes that a server settles on for one load."""

    cells: int
    """Cells of one stream of the KV cache."""
    window_cells: int
    """Cells of one stream of a sliding-window cache."""
    streams: int
    """Separate caches: one if the slots share it."""
    slots: int
    ubatch: int
    """Tokens of the largest graph."""
    output_rows: int
    """Rows of logits that the largest graph yields."""


def resolve_context(shape: Shape, settings: LoadSettings, profile: BuildProfile) -> Context:
    """Round the settings as the server does."""
    total = padded(settings.total_context, _PAD)
    streams = 1 if settings.unified_kv else settings.parallel
    cells = padded(total // streams, _PAD)
    batch = min(settings.total_context, settings.batch) if shape.is_causal else settings.batch
    ubatch = min(batch, settings.ubatch)
    reach = shape.window_size * (settings.parallel if settings.unified_kv else 1) + ubatch
    keeps_window = profile.windowed_cache and not settings.swa_full
    return Context(
        cells=cells,
        window_cells=padded(min(cells, reach), _PAD) if keeps_window else cells,
        streams=streams,
        slots=settings.parallel,
        ubatch=padded(min(ubatch, cells * streams), settings.parallel),
        output_rows=_output_rows(settings, profile, min(ubatch, cells * streams)),
    )


def _output_rows(settings: LoadSettings, profile: BuildProfile, tokens: int) -> int:
    if settings.embedding or not profile.logits_for_slots_only:
        return tokens
    return min(tokens, settings.parallel * (1 + settings.draft_length))
