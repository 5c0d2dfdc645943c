"""Projectors, draft models and adapters add to the devices on which they lie."""

from models_app.estimator.companions import PROJECTOR_COMPUTE_BYTES, with_adapter, with_draft, with_projector
from models_app.estimator.header import header_estimate
from models_app.estimator.placement import place
from models_app.estimator.profiles import CURRENT
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import LoadSettings
from models_app.gguf.header import GgufHeader, TensorInfo
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME
from tests.tools.model_shapes import header_of

F16 = TENSOR_TYPES_BY_NAME["F16"]
MAIN = header_estimate(header_of("llama-3.1-8b"), LoadSettings())


def test_a_projector_lies_on_the_first_gpu() -> None:
    projector = GgufHeader(3, {}, (TensorInfo("v.patch_embd.weight", (1024, 512), F16),))
    both = with_projector(MAIN, projector.weights_bytes)
    assert both.devices[0].weights_bytes == MAIN.devices[0].weights_bytes + 2**20
    assert both.devices[0].compute_bytes == MAIN.devices[0].compute_bytes + PROJECTOR_COMPUTE_BYTES
    assert both.devices[1:] == MAIN.devices[1:]


def test_a_draft_model_shares_the_device_context() -> None:
    draft = header_estimate(header_of("llama-3.2-1b"), LoadSettings())
    both = with_draft(MAIN, draft)
    assert both.devices[0].overhead_bytes == MAIN.devices[0].overhead_bytes
    assert both.vram_bytes == MAIN.vram_bytes + draft.vram_bytes - draft.devices[0].overhead_bytes


def test_an_adapter_follows_the_layers_that_it_adapts() -> None:
    settings = LoadSettings(gpu_layers=17)
    shape = read_shape(header_of("llama-3.1-8b"))
    names = ("blk.0.attn_q.weight.lora_a", "blk.31.attn_q.weight.lora_a", "output.weight.lora_a")
    adapter = GgufHeader(3, {}, tuple(TensorInfo(name, (4096, 16), F16) for name in names))
    before = header_estimate(shape, settings)
    after = with_adapter(before, adapter, place(shape, settings, CURRENT))
    size = 4096 * 16 * 2
    assert after.devices[0].weights_bytes - before.devices[0].weights_bytes == 2 * size
    assert after.devices[1].weights_bytes - before.devices[1].weights_bytes == size
