"""Figures that servers logged, recomputed: each stands for one rule."""

from dataclasses import replace

import pytest

from models_app.estimator.header import header_estimate
from models_app.estimator.profiles import PROFILES
from models_app.estimator.types import DeviceEstimate, InvalidSettings, LoadSettings
from tests.tools.model_shapes import header_of

MIB = 1024**2


def gpu(model: str, settings: LoadSettings, profile: str = "llama.cpp-2026-06") -> DeviceEstimate:
    return header_estimate(header_of(model), settings, PROFILES[profile]).devices[0]


def test_gpt_oss_keeps_eighteen_mib_for_its_windows() -> None:
    assert gpu("gpt-oss-20b", LoadSettings(context_length=131072)).kv_bytes == (3072 + 18) * MIB
    assert gpu("gpt-oss-20b", LoadSettings(context_length=131072, ubatch=2048)).kv_bytes == (3072 + 54) * MIB


def test_qwen_36_keeps_six_hundred_mib_of_state_for_four_slots() -> None:
    device = gpu("qwen3.6-27b", LoadSettings(context_length=8192, parallel=4, unified_kv=True))
    assert device.recurrent_bytes == 598.5 * MIB
    assert device.kv_bytes == 512 * MIB


def test_drafting_adds_a_state_for_each_token_and_the_heads_own_cache() -> None:
    device = gpu("qwen3.6-27b", LoadSettings(context_length=8192, draft_length=2))
    assert device.recurrent_bytes == pytest.approx(448.88 * MIB, rel=1e-4)
    assert device.kv_bytes == (512 + 32) * MIB
    without = gpu("qwen3.6-27b", LoadSettings(context_length=8192))
    assert device.weights_bytes > without.weights_bytes
    assert device.compute_bytes - without.compute_bytes == pytest.approx(130 * MIB, rel=0.1)


def test_latent_attention_keeps_k_only_since_2026() -> None:
    settings = LoadSettings(context_length=32768)
    assert gpu("deepseek-v2-lite", settings).kv_bytes == 27 * 576 * 32768 * 2
    assert gpu("deepseek-v2-lite", settings, "llama.cpp-2025-12").kv_bytes == 27 * (576 + 512) * 32768 * 2


def test_files_from_before_latent_attention_cache_every_head() -> None:
    assert gpu("deepseek-v2-lite-old", LoadSettings(context_length=32768)).kv_bytes == 8640 * MIB


def test_the_output_stage_of_older_servers_spans_a_micro_batch() -> None:
    compute = gpu("llama-3.1-8b", LoadSettings(context_length=8192), "llama.cpp-2025-12").compute_bytes
    assert compute == pytest.approx(4 * 512 * (128256 + 4096), rel=0.001)


def test_the_first_layer_that_a_new_server_offloads_is_the_output_layer() -> None:
    settings = LoadSettings(gpu_layers=1)
    output = {t.name: t.size_bytes for t in header_of("llama-3.1-8b").tensors}["output.weight"]
    assert gpu("llama-3.1-8b", settings).weights_bytes == pytest.approx(output, rel=0.001)
    repeating = gpu("llama-3.1-8b", settings, "llama.cpp-2025-05").weights_bytes
    assert repeating < output / 2


def test_tied_embeddings_lie_on_both_sides() -> None:
    embedding = {t.name: t.size_bytes for t in header_of("gemma3-12b").tensors}["token_embd.weight"]
    estimate = header_estimate(header_of("gemma3-12b"), LoadSettings())
    assert estimate.devices[-1].weights_bytes == embedding
    total = sum(device.weights_bytes for device in estimate.devices)
    assert total == pytest.approx(header_of("gemma3-12b").weights_bytes + embedding, rel=0.001)


def test_an_embedding_server_reserves_logits_for_a_micro_batch() -> None:
    compute = gpu("qwen3-embedding-0.6b", LoadSettings(ubatch=2048, embedding=True)).compute_bytes
    assert compute == pytest.approx(1200.96 * MIB, rel=0.02)


def test_experts_on_the_cpu_leave_the_gpu() -> None:
    on_gpu = gpu("qwen3-30b-a3b", LoadSettings())
    half = gpu("qwen3-30b-a3b", LoadSettings(cpu_moe_layers=24))
    none = gpu("qwen3-30b-a3b", LoadSettings(cpu_moe_layers=48))
    assert none.weights_bytes < half.weights_bytes < on_gpu.weights_bytes
    assert none.kv_bytes == on_gpu.kv_bytes


def test_a_cache_type_that_does_not_divide_the_heads_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="Q8_0 needs heads of whole blocks; this model's have 80"):
        gpu("phi-2", LoadSettings(cache_type_k="q8_0"))


def test_more_shares_than_gpus_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="split names 3 GPUs; there are 2"):
        header_estimate(header_of("llama-3.1-8b"), LoadSettings(split=(1, 1, 1)), gpu_bytes=[1, 1])


@pytest.mark.parametrize(
    ("model", "logged"),
    [
        ("llama-3.2-1b", 68.01),
        ("phi-3-mini", 76.01),
        ("minicpm3", 61.51),
        ("deepseek-v2-lite", 84.13),
        ("lfm2-1.2b", 64.03),
    ],
)
def test_without_a_gpu_the_compute_buffer_is_what_a_server_logs(model: str, logged: float) -> None:
    (host,) = header_estimate(header_of(model), LoadSettings(context_length=4096), gpu_bytes=[]).devices
    assert host.compute_bytes / MIB == pytest.approx(logged, abs=0.01)


def test_glm_52_has_indexers_in_every_fourth_layer() -> None:
    header = header_of("glm-5")
    header = replace(header, metadata={**header.metadata, "glm-dsa.context_length": 1 << 20})
    device = header_estimate(header, LoadSettings(context_length=768000)).devices[0]
    assert device.kv_bytes == 69750 * MIB


def test_without_a_gpu_everything_is_in_host_ram() -> None:
    (host,) = header_estimate(header_of("llama-3.1-8b"), LoadSettings(), gpu_bytes=[]).devices
    assert host.weights_bytes >= header_of("llama-3.1-8b").weights_bytes
    assert host.compute_bytes > 0
