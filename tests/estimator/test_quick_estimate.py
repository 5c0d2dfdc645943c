"""The quick grade: weights from size or parameters, KV cache from the shape, clear errors for what is missing."""

import pytest

from models_app.estimator.quick import BYTES_PER_WEIGHT, QUICK_OVERHEAD_BYTES, QuickModel, quick_estimate
from models_app.estimator.types import (
    DeviceKind,
    Grade,
    InvalidSettings,
    LoadSettings,
    MissingShape,
    UnknownQuantization,
)

LLAMA_8B = QuickModel(
    parameter_count=8_000_000_000,
    quantization="Q4_K_M",
    layer_count=32,
    kv_head_count=8,
    key_length=128,
    value_length=128,
)
GIB = 1024**3


def test_the_terms_are_parameters_by_bytes_per_weight_and_the_kv_formula() -> None:
    estimate = quick_estimate(LLAMA_8B, LoadSettings(context_length=4096))
    (gpu,) = estimate.devices
    assert (gpu.kind, estimate.grade) == (DeviceKind.VRAM, Grade.QUICK)
    assert gpu.weights_bytes == 5_120_000_000
    assert gpu.kv_bytes == 2 * 32 * 8 * 128 * 4096 * 2
    assert gpu.overhead_bytes == QUICK_OVERHEAD_BYTES
    assert estimate.total_bytes == gpu.total_bytes == 5_120_000_000 + GIB // 2 + QUICK_OVERHEAD_BYTES


def test_the_file_size_beats_parameters_by_bytes_per_weight() -> None:
    model = QuickModel(weights_bytes=4_920_000_000, layer_count=32, kv_head_count=8, key_length=128, value_length=128)
    assert quick_estimate(model, LoadSettings()).devices[0].weights_bytes == 4_920_000_000


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ("FP16", 2.0),
        ("Q8_0", 1.1),
        ("Q6_K", 0.83),
        ("Q5_K_M", 0.73),
        ("Q4_K_M", 0.64),
        ("Q3_K_S", 0.53),
        ("IQ2_XXS", 0.29),
    ],
)
def test_the_planning_table_is_kept_as_published(quantization: str, expected: float) -> None:
    assert BYTES_PER_WEIGHT[quantization] == expected


@pytest.mark.parametrize(
    ("given", "same_as"), [("q4_k_m", "Q4_K_M"), ("F16", "FP16"), ("BF16", "FP16"), ("UD-Q2_K", "Q2_K")]
)
def test_names_of_quantisations_are_read_leniently(given: str, same_as: str) -> None:
    model = QuickModel(parameter_count=10**9, quantization=given, has_kv_cache=False)
    expected = int(10**9 * BYTES_PER_WEIGHT[same_as])
    assert quick_estimate(model, LoadSettings()).devices[0].weights_bytes == expected


def test_an_unknown_quantisation_lists_the_known_ones() -> None:
    model = QuickModel(parameter_count=10**9, quantization="Q99", has_kv_cache=False)
    with pytest.raises(UnknownQuantization, match=r"'Q99'.*IQ2_XXS.*Q4_K_M"):
        quick_estimate(model, LoadSettings())


def test_missing_layers_and_kv_heads_are_both_named() -> None:
    with pytest.raises(MissingShape, match="the number of layers, the number of KV heads") as caught:
        quick_estimate(QuickModel(weights_bytes=GIB, key_length=128, value_length=128), LoadSettings())
    assert caught.value.missing == ("the number of layers", "the number of KV heads")


def test_head_sizes_default_to_the_embedding_length_shared_by_the_heads() -> None:
    model = QuickModel(weights_bytes=GIB, layer_count=1, kv_head_count=2, embedding_length=512, head_count=8)
    assert quick_estimate(model, LoadSettings(context_length=10)).devices[0].kv_bytes == 2 * 2 * 64 * 10 * 2


def test_key_and_value_lengths_and_cache_types_count_separately() -> None:
    model = QuickModel(weights_bytes=GIB, layer_count=1, kv_head_count=1, key_length=192, value_length=128)
    settings = LoadSettings(context_length=100, cache_type_k="q8_0", cache_type_v="f16")
    assert quick_estimate(model, settings).devices[0].kv_bytes == 100 * (192 // 32 * 34 + 128 * 2)


def test_slots_multiply_the_cache_unless_they_share_it() -> None:
    each = quick_estimate(LLAMA_8B, LoadSettings(parallel=4)).devices[0].kv_bytes
    shared = quick_estimate(LLAMA_8B, LoadSettings(parallel=4, unified_kv=True)).devices[0].kv_bytes
    assert each == 4 * shared


def test_partial_offload_leaves_the_other_share_in_host_ram() -> None:
    gpu, host = quick_estimate(LLAMA_8B, LoadSettings(gpu_layers=11)).devices
    assert (gpu.kind, host.kind) == (DeviceKind.VRAM, DeviceKind.HOST_RAM)
    assert gpu.weights_bytes + host.weights_bytes == 5_120_000_000
    assert gpu.weights_bytes == 5_120_000_000 // 3


def test_no_layers_on_the_gpu_leave_everything_in_host_ram() -> None:
    (host,) = quick_estimate(LLAMA_8B, LoadSettings(gpu_layers=0)).devices
    assert host.kind is DeviceKind.HOST_RAM


@pytest.mark.parametrize(
    "bad",
    [
        {"context_length": 0},
        {"parallel": 0},
        {"gpu_layers": -1},
        {"cache_type_k": "q9"},
        {"cache_type_v": "q8_0", "flash_attention": False},
        {"split": (0.0, 0.0)},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        LoadSettings(**bad)  # type: ignore[arg-type]
