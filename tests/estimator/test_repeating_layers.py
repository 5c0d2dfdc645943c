"""Of a pattern that repeats two copies are written down, and the memory is planned as from all layers."""

from typing import Any

import pytest

from models_app.estimator import compute
from models_app.estimator.header import header_estimate
from models_app.estimator.repeats import find_repeats, none_repeated
from models_app.estimator.types import LoadSettings
from tests.tools.model_shapes import GPU_BYTES, header_of


@pytest.mark.parametrize(
    ("layers", "written"),
    [
        ("d" * 32, "ddd"),
        ("dddA" * 12, "dddAdddA"),
        ("wwwwwG" * 8, "wwwGwwwG"),
        ("D" + "m" * 20 + "x", "Dmmmx"),
        ("ab" * 9 + "a", "ababa"),
        ("abc", "abc"),
    ],
)
def test_the_first_and_the_last_copy_of_a_pattern_are_written(layers: str, written: str) -> None:
    assert "".join(layers[index] for index in find_repeats(layers).written) == written


@pytest.mark.parametrize("layers", ["d" * 9, "dddA" * 6, "wwwwwG" * 5 + "ww", "mmmmAmmmmmAmmmA"])
def test_a_layer_is_stood_for_by_one_of_its_kind(layers: str) -> None:
    repeats = find_repeats(layers)
    assert [layers[index] for index in repeats.stands_for] == list(layers)
    assert set(repeats.stands_for) == set(repeats.written)


@pytest.mark.parametrize(
    ("model", "gpu_count", "settings"),
    [
        ("qwen3.6-27b", 1, {"gpu_layers": 0}),
        ("qwen3-next-80b", 1, {"gpu_layers": 20}),
        ("qwen3-30b-a3b", 1, {"cpu_moe_layers": 10}),
        ("gemma3-12b", 3, {}),
        ("smollm3-3b", 2, {"kv_offload": False}),
        ("gemma4-e4b", 2, {}),
        ("nemotron-h-8b", 1, {"gpu_layers": 20}),
        ("mixtral-8x7b", 2, {"cache_type_k": "iq4_nl", "cache_type_v": "iq4_nl"}),
    ],
)
def test_nothing_changes_where_every_layer_is_written(
    monkeypatch: pytest.MonkeyPatch, model: str, gpu_count: int, settings: dict[str, Any]
) -> None:
    chosen, gpus = LoadSettings(**settings), [GPU_BYTES] * gpu_count
    found = header_estimate(header_of(model), chosen, gpu_bytes=gpus)
    monkeypatch.setattr(compute, "find_repeats", lambda kinds: none_repeated(len(kinds)))
    assert header_estimate(header_of(model), chosen, gpu_bytes=gpus) == found
