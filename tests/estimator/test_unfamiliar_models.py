"""Unknown architectures get an honest generic estimate; impossible headers a clear error."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.estimator.header import header_estimate
from models_app.estimator.keys import UnsupportedModel
from models_app.estimator.quick import QuickModel, quick_estimate, quick_kv_bytes, quick_weights_bytes
from models_app.estimator.types import EstimateError, ImpossibleSize, LoadSettings, MissingShape
from models_app.gguf.header import GgufHeader, TensorInfo, Value
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME
from tests.tools.model_shapes import header_of


def renamed(model: str, architecture: str) -> GgufHeader:
    """The same model under the name of an architecture that nobody knows."""
    header = header_of(model)
    old = header.architecture
    metadata = {key.replace(f"{old}.", f"{architecture}.", 1): value for key, value in header.metadata.items()}
    return replace(header, metadata=metadata | {"general.architecture": architecture})


def test_an_unknown_architecture_is_estimated_by_its_tensors_and_says_so() -> None:
    known = header_estimate(header_of("qwen3-8b"), LoadSettings())
    unknown = header_estimate(renamed("qwen3-8b", "novel"), LoadSettings())
    assert unknown.devices == known.devices
    assert unknown.error_bytes > known.error_bytes
    assert any("novel is not among the verified architectures" in note for note in unknown.notes)


def test_windows_that_an_unknown_header_lists_are_believed() -> None:
    known = header_estimate(header_of("gemma4-12b"), LoadSettings(context_length=65536))
    unknown = header_estimate(renamed("gemma4-12b", "novel"), LoadSettings(context_length=65536))
    assert unknown.devices[0].kv_bytes == known.devices[0].kv_bytes


def test_layers_of_no_known_make_fall_back_to_a_rule_of_thumb() -> None:
    header = header_of("llama-3.1-8b")
    stripped = replace(header, tensors=tuple(t for t in header.tensors if "attn_k" not in t.name))
    estimate = header_estimate(stripped, LoadSettings())
    assert any("rule of thumb" in note for note in estimate.notes)
    assert estimate.devices[0].compute_bytes > 0


def test_a_header_without_an_architecture_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"general\.architecture"):
        header_estimate(GgufHeader(3, {}, ()), LoadSettings())


def test_a_header_without_layers_names_what_is_missing() -> None:
    with pytest.raises(MissingShape, match=r"llama\.block_count"):
        header_estimate(GgufHeader(3, {"general.architecture": "llama"}, ()), LoadSettings())


@pytest.mark.parametrize("value", [-1, 2**60, float("nan"), float("inf")])
def test_an_impossible_number_is_named(value: float) -> None:
    metadata = dict(header_of("llama-3.1-8b").metadata) | {"llama.attention.key_length": value}
    with pytest.raises(UnsupportedModel, match=r"llama\.attention\.key_length"):
        header_estimate(GgufHeader(3, metadata, ()), LoadSettings())


def test_more_bytes_than_any_machine_has_are_no_estimate() -> None:
    header = header_of("llama-3.1-8b")
    metadata = dict(header.metadata) | {"llama.attention.key_length": 2**40}
    with pytest.raises(ImpossibleSize, match="PiB"):
        header_estimate(replace(header, metadata=metadata), LoadSettings())
    shape = QuickModel(weights_bytes=1, layer_count=2**20, kv_head_count=2**20, key_length=2**20, value_length=2**20)
    for asked in (quick_estimate, quick_kv_bytes):
        with pytest.raises(ImpossibleSize):
            asked(shape, LoadSettings())
    with pytest.raises(ImpossibleSize):
        quick_weights_bytes(QuickModel(parameter_count=2**62, quantization="F32"))


def test_a_tensor_of_no_layer_that_can_be_is_outside_of_them() -> None:
    header = header_of("llama-3.1-8b")
    odd = TensorInfo(f"blk.{'9' * 5000}.attn_q.weight", (32,), TENSOR_TYPES_BY_NAME["F32"])
    estimate = header_estimate(replace(header, tensors=(*header.tensors, odd)), LoadSettings())
    assert estimate.total_bytes > header_estimate(header, LoadSettings()).total_bytes


numbers: st.SearchStrategy[Any] = st.one_of(
    st.integers(-4, 300), st.sampled_from([0, 2**31, 2**63]), st.floats(), st.booleans(), st.text(max_size=3)
)
BASES = ("llama-3.1-8b", "qwen3.6-27b", "jamba-mini", "deepseek-v3", "gemma4-e4b", "bert-base", "lfm2-8b-a1b")


@given(st.data())
def test_any_damage_to_a_header_ends_in_an_estimate_or_a_clear_error(data: st.DataObject) -> None:
    header = header_of(data.draw(st.sampled_from(BASES)))
    keys = data.draw(st.lists(st.sampled_from(sorted(header.metadata)), max_size=4))
    damaged: dict[str, Value] = {
        key: data.draw(numbers | st.lists(st.integers(-2, 64), max_size=70).map(tuple)) for key in keys
    }
    dropped = set(data.draw(st.lists(st.integers(0, len(header.tensors) - 1), max_size=6)))
    tensors = [t for index, t in enumerate(header.tensors) if index not in dropped]
    shape = tuple(data.draw(st.lists(st.integers(0, 512), max_size=4)))
    tensors[0] = TensorInfo(tensors[0].name, shape, TENSOR_TYPES_BY_NAME["F16"])
    broken = replace(header, metadata=dict(header.metadata) | damaged, tensors=tuple(tensors))
    settings = data.draw(
        st.builds(
            LoadSettings,
            context_length=st.integers(1, 300_000),
            parallel=st.integers(1, 9),
            gpu_layers=st.none() | st.integers(0, 200),
            ubatch=st.integers(1, 4096),
            cpu_moe_layers=st.integers(0, 70),
        )
    )
    try:
        estimate = header_estimate(broken, settings, gpu_bytes=[2**33] * data.draw(st.integers(0, 3)))
    except EstimateError:
        return
    assert all(device.total_bytes >= 0 for device in estimate.devices)


def test_per_layer_embeddings_without_their_projection_get_the_rule_of_thumb() -> None:
    whole = header_of("gemma4-e4b")
    header = replace(whole, tensors=tuple(t for t in whole.tensors if t.name != "per_layer_model_proj.weight"))
    estimate = header_estimate(header, LoadSettings())
    assert any("no per_layer_model_proj.weight" in note for note in estimate.notes)
