"""llama.cpp's own plan becomes an estimate: what it is asked, how it is read, and what is corrected."""

from dataclasses import replace

import pytest

from models_app.estimator.header import header_estimate
from models_app.estimator.oracle import NoPlan, asked_settings, oracle_estimate, parse_plan, planner_arguments
from models_app.estimator.types import Estimate, Grade, LoadSettings
from tests.tools.model_shapes import header_of, recorded_plans

MIB = 1024**2


def plan_of(estimate: Estimate) -> str:
    """What a planner would print that agrees with the estimate."""
    names = ["Host" if device.name == "Host" else device.name.replace("GPU ", "CUDA") for device in estimate.devices]
    figures = [(d.weights_bytes, d.kv_bytes + d.recurrent_bytes, d.compute_bytes) for d in estimate.devices]
    lines = [
        " ".join([name, *(str(figure // MIB) for figure in row), ""]) for name, row in zip(names, figures, strict=True)
    ]
    return "\n".join(lines) + "\n"


def test_a_plan_lists_the_devices_with_host_ram_last() -> None:
    gpu, host = parse_plan("a line of a log\nCUDA0 4155 1024 258 \nHost 281 0 16 \n")
    assert (gpu.weights_bytes // MIB, gpu.cache_bytes // MIB, gpu.compute_bytes // MIB) == (4155, 1024, 258)
    assert (host.weights_bytes // MIB, host.cache_bytes, host.compute_bytes // MIB) == (281, 0, 16)


@pytest.mark.parametrize("text", ["", "error: failed", "CUDA0 1 2 3 \n", "Host 1 2 3 \nHost 1 2 3 \n", "Host 1 2 \n"])
def test_anything_else_is_no_plan(text: str) -> None:
    with pytest.raises(NoPlan, match="holds no plan"):
        parse_plan(text)


def test_every_setting_that_the_planner_knows_is_asked() -> None:
    settings = LoadSettings(
        context_length=8192, parallel=2, gpu_layers=20, ubatch=256, cache_type_k="q8_0", cache_type_v="q8_0",
        flash_attention=True, split=(3.0, 1.0), swa_full=True, kv_offload=False, cpu_moe_layers=4,
    )  # fmt: skip
    command = " ".join(planner_arguments(settings, (1.0, 1.0)))
    for words in (
        "--ctx-size 16384", "--parallel 2", "--n-gpu-layers 20", "--ubatch-size 256", "--cache-type-k q8_0",
        "--flash-attn on", "--tensor-split 3,1", "--swa-full", "--no-kv-offload", "--n-cpu-moe 4",
    ):  # fmt: skip
        assert words in command


def test_slots_that_share_a_cache_are_asked_for_as_one() -> None:
    asked = asked_settings(LoadSettings(context_length=8192, parallel=4, unified_kv=True))
    assert (asked.total_context, asked.parallel, asked.unified_kv) == (8192, 1, False)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma3-12b", "qwen3.6-27b"])
@pytest.mark.parametrize("gpus", [(), (1,), (1, 1)])
def test_a_plan_that_agrees_with_the_header_leaves_its_figures(model: str, gpus: tuple[int, ...]) -> None:
    settings = LoadSettings(context_length=16384, parallel=4, unified_kv=True)
    wanted = header_estimate(header_of(model), settings, gpu_bytes=gpus)
    asked = header_estimate(header_of(model), asked_settings(settings), gpu_bytes=gpus)
    estimate = oracle_estimate(wanted, asked, parse_plan(plan_of(asked)))
    assert estimate.grade is Grade.ORACLE
    assert estimate.devices == wanted.devices
    assert estimate.error_bytes < wanted.error_bytes + 4 * MIB


def test_logits_for_a_whole_batch_are_taken_off() -> None:
    """The planner reserves them; a server does not: 258 MiB of Llama 3 at 512 tokens."""
    recorded = next(plan for plan in recorded_plans() if plan.model == "llama-3.1-8b" and plan.gpu_count == 1)
    wanted = header_estimate(header_of(recorded.model), recorded.settings, gpu_bytes=[1])
    asked = header_estimate(header_of(recorded.model), asked_settings(recorded.settings), gpu_bytes=[1])
    assert asked.devices[0].compute_bytes > wanted.devices[0].compute_bytes + 100 * MIB
    estimate = oracle_estimate(wanted, asked, parse_plan(plan_of(asked)))
    assert estimate.devices[0].compute_bytes == pytest.approx(recorded.bytes["GPU 0"][2], rel=0.001)


def test_what_the_planner_knows_better_is_believed() -> None:
    wanted = header_estimate(header_of("llama-3.1-8b"), LoadSettings(), gpu_bytes=[1])
    asked = header_estimate(header_of("llama-3.1-8b"), asked_settings(LoadSettings()), gpu_bytes=[1])
    more = replace(parse_plan(plan_of(asked))[0], compute_bytes=asked.devices[0].compute_bytes + 64 * MIB)
    estimate = oracle_estimate(wanted, asked, (more, parse_plan(plan_of(asked))[1]))
    assert estimate.devices[0].compute_bytes == wanted.devices[0].compute_bytes + 64 * MIB


def test_a_plan_for_other_devices_is_refused() -> None:
    wanted = header_estimate(header_of("llama-3.1-8b"), LoadSettings(), gpu_bytes=[1])
    with pytest.raises(NoPlan, match="sees 0 GPUs, not 1"):
        oracle_estimate(wanted, wanted, parse_plan("Host 1 2 3 \n"))
