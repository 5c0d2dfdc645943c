"""How a load will run where nobody said how: each server's own defaults, and its build."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models_app.backends.protocol import LoadOptions
from models_app.operations.builds import profile_of
from models_app.operations.load_settings import Situation, load_settings, only_gpu, uses_every_gpu
from tests.factories import EndpointFactory

GIB = 1024**3
OLLAMA = Situation("ollama", "ollama", False, 24 * GIB, 131_072, False)
LLAMA = Situation("llama_server", "router", False, 24 * GIB, 131_072, False)
NOTHING = LoadOptions()


@pytest.mark.parametrize(("vram_gib", "context"), [(8, 4096), (22, 4096), (23, 32_768), (46, 32_768), (47, 262_144)])
def test_ollama_chooses_the_context_by_vram(vram_gib: int, context: int) -> None:
    situation = replace(OLLAMA, vram_bytes=vram_gib * GIB, training_context_length=None)
    settings, assumed = load_settings(NOTHING, situation)
    assert settings.context_length == context
    assert f"{context:,} tokens are assumed" in assumed[0]


def test_a_context_is_never_assumed_beyond_the_training() -> None:
    assert load_settings(NOTHING, replace(OLLAMA, training_context_length=2048))[0].context_length == 2048


def test_what_is_asked_for_or_observed_is_not_assumed() -> None:
    assert load_settings(LoadOptions(context_length=5000), OLLAMA)[1] == ()
    settings, assumed = load_settings(NOTHING, replace(OLLAMA, observed_context=16_384))
    assert (settings.context_length, assumed) == (16_384, ())


@pytest.mark.parametrize(("context", "batch"), [(4096, 512), (4097, 1024), (32_768, 1024), (32_769, 2048)])
def test_ollamas_batch_grows_with_the_context(context: int, batch: int) -> None:
    settings, _ = load_settings(LoadOptions(context_length=context), OLLAMA)
    assert (settings.batch, settings.ubatch, settings.parallel) == (batch, batch, 1)


def test_ollamas_own_runner_keeps_its_batch() -> None:
    assert load_settings(LoadOptions(context_length=65_536), replace(OLLAMA, has_own_runner=True))[0].ubatch == 512


def test_an_embedding_model_gets_a_batch_of_its_context() -> None:
    settings, _ = load_settings(LoadOptions(context_length=512), replace(OLLAMA, is_embedding=True))
    assert (settings.ubatch, settings.embedding) == (512, True)


def test_an_ollama_that_berth_starts_is_known_by_its_settings() -> None:
    launch = {"ctx_size": 8192, "parallel": 2, "cache_type_k": "q8_0", "cache_type_v": "q8_0", "flash_attn": True}
    settings, assumed = load_settings(NOTHING, replace(OLLAMA, launch=launch, observed_context=4096))
    assert (settings.context_length, settings.parallel, settings.cache_type_k, assumed) == (8192, 2, "q8_0", ())
    assert load_settings(NOTHING, replace(OLLAMA, launch=launch, training_context_length=512))[0].context_length == 512


def test_a_routers_command_line_becomes_the_settings() -> None:
    launch = {
        "ctx_size": 32_768,
        "parallel": 4,
        "n_gpu_layers": 20,
        "cache_type_k": "q8_0",
        "cache_type_v": "q8_0",
        "flash_attn": True,
        "batch_size": 1024,
        "ubatch_size": 256,
        "tensor_split": [3.0, 1.0],
    }
    settings, assumed = load_settings(NOTHING, replace(LLAMA, launch=launch))
    assert (settings.context_length, settings.parallel, settings.unified_kv, settings.total_context) == (
        8192,
        4,
        False,
        32_768,
    )
    assert (settings.gpu_layers, settings.batch, settings.ubatch, settings.split) == (20, 1024, 256, (3.0, 1.0))
    assert (settings.cache_type_k, settings.cache_type_v, settings.flash_attention) == ("q8_0", "q8_0", True)
    assert assumed == ()


def test_llama_servers_own_slots_share_one_cache() -> None:
    settings, _ = load_settings(NOTHING, replace(LLAMA, launch={"ctx_size": 8192}))
    assert (settings.parallel, settings.unified_kv, settings.total_context) == (4, True, 8192)


def test_llama_server_without_a_context_takes_that_of_the_training() -> None:
    settings, assumed = load_settings(NOTHING, replace(LLAMA, launch={"ctx_size": 0}))
    assert settings.context_length == 131_072
    assert "as the model was trained" in assumed[0]


def test_llama_server_divides_over_every_gpu_unless_told_otherwise() -> None:
    assert uses_every_gpu(LLAMA)
    assert not uses_every_gpu(OLLAMA)
    alone = replace(LLAMA, launch={"split_mode": "none", "main_gpu": 1})
    assert (uses_every_gpu(alone), only_gpu(alone)) == (False, 1)


@pytest.mark.parametrize(
    ("kind", "version", "profile"),
    [
        ("ollama", "0.33.1", "llama.cpp-2026-06"),
        ("ollama", "0.30.0", "llama.cpp-2026-06"),
        ("ollama", "0.29.4", "ollama-before-0.30"),
        ("ollama", "0.0.0", "llama.cpp-2026-06"),
        ("ollama", "", "llama.cpp-2026-06"),
        ("llama_server", "b9701-abc", "llama.cpp-2026-06"),
        ("llama_server", "b8041-abc", "llama.cpp-2025-12"),
        ("llama_server", "b6500-abc", "llama.cpp-2025-08"),
        ("llama_server", "b5600-abc", "llama.cpp-2025-05"),
        ("llama_server", "b3000-abc", "llama.cpp-2024"),
        ("llama_server", "b1-0c1e570", "llama.cpp-2026-06"),
        ("llama_server", "who knows", "llama.cpp-2026-06"),
    ],
)
def test_the_build_profile_follows_the_version(kind: str, version: str, profile: str) -> None:
    assert profile_of(EndpointFactory.build(kind=kind, version=version)).name == profile
