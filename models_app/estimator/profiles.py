"""What changed between builds of the servers, as far as it moves memory.

Dates are those of the llama.cpp releases in which a change appeared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models_app.estimator.types import EstimateError


class UnknownProfile(EstimateError):
    """No build profile has that name."""


@dataclass(frozen=True, slots=True)
class BuildProfile:
    """The rules of one generation of servers."""

    name: str
    summary: str
    output_layer_first: bool = True
    """``n_gpu_layers`` counts the output layer, and it goes to the GPU before any other."""
    logits_for_slots_only: bool = True
    """The output stage is reserved for one row per slot, not for a whole micro-batch."""
    windowed_cache: bool = True
    """Sliding-window layers keep only their window."""
    mla_keeps_k_only: bool = True
    """MLA models cache the latent once, not as K and as V."""
    scratch_in_compute_buffer: bool = True
    """Flash attention plans its f16 copies of a quantised cache inside the compute buffer."""
    mask_is_f16: bool = True
    """The mask for flash attention arrives as f16; before, it arrived as f32 and was converted."""
    one_step_gates: bool = True
    """A gated activation is one operation with a result of its own; before, it was two in place, and a fused projection of
    queries, keys and values was taken apart into copies."""
    indexed_writes: bool = True
    """Rows are written to the cache by index, and the indices are inputs."""
    fits_by_itself: bool = True
    """llama-server shrinks a load that does not fit."""
    ready_embeddings: bool = True
    """There is a place for embeddings that come ready-made, beside those that are looked up."""


CURRENT = BuildProfile("llama.cpp-2026-06", "llama.cpp from June 2026, and Ollama from 0.30")
_BEFORE_SLOTS = replace(
    CURRENT,
    name="llama.cpp-2025-12",
    summary="llama.cpp from December 2025 to May 2026: logits for a whole micro-batch",
    logits_for_slots_only=False,
    mla_keeps_k_only=False,
    scratch_in_compute_buffer=False,
    mask_is_f16=False,
)
_OLD_LAYERS = replace(
    _BEFORE_SLOTS,
    name="llama.cpp-2025-08",
    summary="llama.cpp from August to November 2025: the output layer goes to the GPU last",
    output_layer_first=False,
    fits_by_itself=False,
    ready_embeddings=False,
)
_OLD_GRAPH = replace(
    _OLD_LAYERS,
    name="llama.cpp-2025-05",
    summary="llama.cpp from May to July 2025: gates in two steps",
    one_step_gates=False,
    indexed_writes=False,
)
_FULL_WINDOWS = replace(
    _OLD_GRAPH,
    name="llama.cpp-2024",
    summary="llama.cpp before May 2025: windows at full length",
    windowed_cache=False,
)
_OLLAMA = replace(
    _OLD_LAYERS,
    name="ollama-before-0.30",
    summary="Ollama's own runner before 0.30: windows at full length",
    windowed_cache=False,
)

PROFILES: dict[str, BuildProfile] = {
    profile.name: profile for profile in (CURRENT, _BEFORE_SLOTS, _OLLAMA, _OLD_LAYERS, _OLD_GRAPH, _FULL_WINDOWS)
}
"""Every profile by name, newest first."""


def build_profile(name: str) -> BuildProfile:
    """A profile by name. Raises ``UnknownProfile``, which lists the names."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfile(f"Unknown build profile {name!r}. Known: {', '.join(PROFILES)}.") from None
