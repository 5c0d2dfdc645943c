"""What llama-server makes of a load that does not fit, against what its planner printed for GPUs of these sizes."""

from functools import partial

import pytest

from models_app.estimator.header import header_estimate
from models_app.estimator.server_fit import Unset, fitted
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import Estimate, LoadSettings
from tests.tools.model_shapes import header_of

GIB = 1024**3


def server_choice(model: str, gpus: tuple[int, ...], unset: Unset, context_length: int | None = None) -> LoadSettings:
    shape = read_shape(header_of(model))
    free = [gib * GIB for gib in gpus]
    # The recorded plans reserve logits for a whole micro-batch.
    settings = LoadSettings(context_length=context_length or shape.training_context_length, embedding=True)
    estimate = partial(header_estimate, shape, gpu_bytes=free)

    def of(settings: LoadSettings) -> Estimate:
        return estimate(settings)

    return fitted(of, settings, unset, shape.layer_count, free, shape.expert_count > 0)


@pytest.mark.parametrize(
    ("model", "gpus", "context_length", "gpu_layers"),
    [
        ("llama-3.1-8b", (8,), 17_920, None),
        ("llama-3.1-8b", (12,), 50_688, None),
        ("llama-3.1-8b", (4,), 4096, 17),
        ("llama-3.1-8b", (4, 4), 5888, None),
        ("qwen3-8b", (6, 6), 32_512, None),
        ("gemma3-12b", (10,), 17_664, None),
        ("mistral-7b", (6,), 5120, None),
    ],
)
def test_it_shrinks_what_nobody_set(model: str, gpus: tuple[int, ...], context_length: int, gpu_layers: int | None) -> None:
    chosen = server_choice(model, gpus, Unset(context=True, layers=True))
    assert (chosen.context_length, chosen.gpu_layers) == (context_length, gpu_layers)


def test_experts_leave_the_gpu_before_layers_do() -> None:
    chosen = server_choice("qwen3-30b-a3b", (12,), Unset(context=True, layers=True))
    assert (chosen.context_length, chosen.gpu_layers) == (4096, None)
    assert 20 <= chosen.cpu_moe_layers <= 23  # its planner moved those of 22 layers, one of them in part


def test_what_was_set_stays() -> None:
    assert server_choice("llama-3.1-8b", (8,), Unset(context=False, layers=False)).gpu_layers is None
    chosen = server_choice("llama-3.1-8b", (8,), Unset(context=False, layers=True), context_length=32_768)
    assert chosen.context_length == 32_768
    assert chosen.gpu_layers is not None


def test_what_fits_is_left_alone() -> None:
    assert server_choice("llama-3.1-8b", (80,), Unset(context=True, layers=True)).context_length == 131_072
    assert server_choice("llama-3.1-8b", (), Unset(context=True, layers=True)).context_length == 131_072
