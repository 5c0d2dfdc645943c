"""Of layers that repeat a few are written down, and the memory is planned as from all of them."""

from typing import Any

import pytest

from models_app.estimator import compute
from models_app.estimator.header import header_estimate
from models_app.estimator.repeats import Repeats, find_repeats, none_repeated
from models_app.estimator.types import LoadSettings
from tests.tools.model_shapes import GPU_BYTES, header_of


@pytest.mark.parametrize(
    ("layers", "written"),
    [
        ("d" * 32, "ddd"),
        ("dddA" * 12, "ddAddA"),
        ("wwwwwG" * 8, "wwGwwG"),
        ("D" + "m" * 20 + "x", "Dmmmx"),
        ("ab" * 9 + "a", "ababa"),
        ("abc", "abc"),
        ("d", "d"),
    ],
)
def test_a_layer_is_written_for_every_place_that_layers_have(layers: str, written: str) -> None:
    assert "".join(layers[index] for index in _repeats(layers).written) == written


def test_a_layer_that_looks_ahead_has_the_place_before_its_neighbour_too() -> None:
    layers = "dddA" * 12
    ahead = find_repeats(layers, [True] * len(layers))
    assert "".join(layers[index] for index in ahead.written) == "ddAdddA"
    following = {index: layers[index + 1] for index in range(len(layers) - 1)}
    assert all(following[index] == following[other] for index, other in enumerate(ahead.stands_for[:-1]))


@pytest.mark.parametrize("layers", ["d" * 9, "dddA" * 6, "wwwwwG" * 5 + "ww", "mmmmAmmmmmAmmmA", "ababcabcab"])
def test_a_layer_is_stood_for_by_one_of_its_kind_behind_one_of_the_same_kind(layers: str) -> None:
    repeats = _repeats(layers)
    before = [None, *layers]
    for index, other in enumerate(repeats.stands_for):
        assert (before[index], layers[index]) == (before[other], layers[other])
    written = repeats.written
    assert [layers[index] for index in written[:-1]] == [before[index] for index in written[1:]]
    assert {layers.index(kind) for kind in layers} | {layers.rindex(kind) for kind in layers} <= set(written)


def _repeats(layers: str) -> Repeats:
    return find_repeats(layers, [False] * len(layers))


@pytest.mark.parametrize(
    ("model", "gpu_count", "settings"),
    [
        ("qwen3.6-27b", 1, {"gpu_layers": 0}),
        ("qwen3-next-80b", 1, {"gpu_layers": 20}),
        ("qwen3-30b-a3b", 1, {"cpu_moe_layers": 10}),
        ("gemma3-12b", 3, {}),
        ("smollm3-3b", 2, {"kv_offload": False}),
        ("gemma4-e4b", 2, {}),
        ("gemma3n-e4b", 3, {}),
        ("lfm2-8b-a1b", 4, {}),
        ("command-r7b", 3, {"split": (3.0, 2.0, 1.0)}),
        ("nemotron-h-8b", 1, {"gpu_layers": 20}),
        ("mixtral-8x7b", 2, {"cache_type_k": "iq4_nl", "cache_type_v": "iq4_nl"}),
    ],
)
def test_nothing_changes_where_every_layer_is_written(
    monkeypatch: pytest.MonkeyPatch, model: str, gpu_count: int, settings: dict[str, Any]
) -> None:
    chosen, gpus = LoadSettings(**settings), [GPU_BYTES] * gpu_count
    found = header_estimate(header_of(model), chosen, gpu_bytes=gpus)
    monkeypatch.setattr(compute, "find_repeats", lambda kinds, _: none_repeated(len(kinds)))
    assert header_estimate(header_of(model), chosen, gpu_bytes=gpus) == found
