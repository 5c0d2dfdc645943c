"""The settings that Ollama chooses where nobody asks for others (0.30 and later, which run llama-server).

Source: ``server/routes.go`` and ``server/sched.go`` of Ollama.
"""

from __future__ import annotations

from models_app.estimator.types import LoadSettings

_GIB = 1024**3
_CONTEXT_BY_VRAM = ((47 * _GIB, 262_144), (23 * _GIB, 32_768), (0, 4_096))
_BATCH_BY_CONTEXT = ((4_096, 512), (32_768, 1_024))
_LARGEST_BATCH = 2_048


def ollama_settings(
    total_vram_bytes: int, training_context_length: int = 0, context_length: int | None = None, parallel: int = 1
) -> LoadSettings:
    """Ollama's choice on GPUs of ``total_vram_bytes``: the context by VRAM, the batch by the context of all slots.

    A context is capped by the one the model was trained on. Ollama takes a smaller batch again where it expects this one
    not to fit, so that the estimate is the upper end.
    """
    if context_length is None:
        context_length = next(length for bound, length in _CONTEXT_BY_VRAM if total_vram_bytes >= bound)
    if training_context_length:
        context_length = min(context_length, training_context_length)
    batch = ollama_batch(context_length * parallel)
    return LoadSettings(context_length=context_length, parallel=parallel, batch=batch, ubatch=batch)


def ollama_batch(total_context: int) -> int:
    """Tokens of a batch, which is also the micro-batch, by the tokens of the whole context."""
    return next((batch for bound, batch in _BATCH_BY_CONTEXT if total_context <= bound), _LARGEST_BATCH)
