"""Ollama's own choices: the context by VRAM, the batch by the context."""

import pytest

from models_app.estimator.ollama_defaults import ollama_batch, ollama_settings

GIB = 1024**3


@pytest.mark.parametrize(("vram_gib", "context"), [(8, 4096), (22, 4096), (24, 32768), (46, 32768), (48, 262144)])
def test_the_context_follows_from_all_vram_together(vram_gib: int, context: int) -> None:
    assert ollama_settings(vram_gib * GIB).context_length == context


def test_the_context_is_capped_by_the_training_context() -> None:
    assert ollama_settings(80 * GIB, training_context_length=8192).context_length == 8192
    assert ollama_settings(80 * GIB, training_context_length=8192, context_length=16384).context_length == 8192


@pytest.mark.parametrize(("context", "batch"), [(4096, 512), (4097, 1024), (32768, 1024), (32769, 2048)])
def test_batch_and_micro_batch_follow_from_the_context(context: int, batch: int) -> None:
    assert ollama_batch(context) == batch
    settings = ollama_settings(24 * GIB, context_length=context)
    assert (settings.batch, settings.ubatch) == (batch, batch)


def test_the_slots_together_decide_the_batch() -> None:
    assert ollama_settings(8 * GIB, context_length=4096, parallel=4).ubatch == 1024
