"""Which layers rotate queries and keys by their positions."""

from __future__ import annotations

from models_app.estimator.shape import Layer

_NO_ROPE = frozenset({"jamba", "nemotron_h", "nemotron_h_moe", "granitehybrid", "bert", "jina-bert-v2"})
_ROPE_IN_WINDOWS_ONLY = frozenset({"cohere2", "cohere2moe", "exaone4"})
_ROPE_LEFT_OUT_EVERY = {"smollm3": 4, "llama4": 4}


def uses_rope(architecture_name: str, layer: Layer) -> bool:
    """Whether queries and keys are rotated by their positions."""
    if architecture_name in _ROPE_IN_WINDOWS_ONLY:
        return layer.is_windowed
    step = _ROPE_LEFT_OUT_EVERY.get(architecture_name)
    return architecture_name not in _NO_ROPE and (step is None or (layer.index + 1) % step != 0)
