"""How far off are our estimates, gguf-parser's, and the planning guides' formula? llama.cpp's planner is the referee.

    GGUF_PARSER=/path/to/gguf-parser python -m benchmarks.estimates_beside_gguf_parser

Compared is what all GPUs give together to weights, caches and compute buffers; gguf-parser's reserve for the platform is
set to nothing, and the formula's constant is taken off. Rows that a side cannot estimate are counted with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

from models_app.estimator.header import header_estimate
from models_app.estimator.quick import QUICK_OVERHEAD_BYTES, QuickModel, quick_estimate
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import CACHE_TYPES, DeviceKind, EstimateError
from tests.tools.model_shapes import GPU_BYTES, Plan, header_of, recorded_plans, write_model

TIMEOUT_SECONDS = 60
_QUANTIZATION = "Q4_K_M"
"""The mixture of types in the recorded shapes."""


class NoEstimate(Exception):
    """A side has no figure for a row; the message says why."""


def main() -> None:
    binary = os.environ.get("GGUF_PARSER")
    if not binary:
        raise SystemExit("Set GGUF_PARSER to the gguf-parser program (github.com/gpustack/gguf-parser-go).")
    plans = [*recorded_plans(), *recorded_plans(unseen=True)]
    for title, wanted in (("one GPU, everything on it", True), ("partly on the host, or several GPUs", False)):
        compare(title, [plan for plan in plans if is_plain(plan) is wanted], binary)


def is_plain(plan: Plan) -> bool:
    settings = plan.settings
    return plan.gpu_count == 1 and settings.gpu_layers is None and settings.kv_offload and not settings.cpu_moe_layers


def compare(title: str, plans: list[Plan], binary: str) -> None:
    """Print one line a side, the ratio of errors on the rows that both have, and what was left out."""
    errors: dict[str, dict[int, float]] = defaultdict(dict)
    skipped: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, plan in enumerate(plans):
            truth = sum(sum(plan.bytes[f"GPU {gpu}"]) for gpu in range(plan.gpu_count))
            if not truth:
                skipped["the planner puts nothing on a GPU"] += 1
                continue
            sides = {"Berth": ours, "gguf-parser": lambda plan: gguf_parser(plan, binary, Path(folder)), "guides": guides}
            for side, figure in sides.items():
                try:
                    errors[side][number] = abs(figure(plan) / truth - 1)
                except NoEstimate as reason:
                    skipped[f"{side}: {reason}"] += 1
    print(f"\n{title}\n{'':14} {'n':>5} {'median':>9} {'p95':>9} {'max':>9}")
    for side, found in errors.items():
        print(f"{side:14} {len(found):5} {_line(list(found.values()))}")
    for side in ("gguf-parser", "guides"):
        both = errors["Berth"].keys() & errors[side].keys()
        if both:
            mine, theirs = (sum(errors[name][row] for row in both) / len(both) for name in ("Berth", side))
            print(
                f"mean error of {side} / ours on {len(both)} common rows: {theirs:.2%} / {mine:.2%} = {theirs / mine:.0f}"
            )
    print("Left out:", *(f"  {count} rows: {reason}" for reason, count in skipped.most_common()), sep="\n")


def ours(plan: Plan) -> int:
    try:
        estimate = header_estimate(header_of(plan.model), plan.settings, gpu_bytes=[GPU_BYTES] * plan.gpu_count)
    except EstimateError as error:
        raise NoEstimate(str(error)) from error
    gpus = [device for device in estimate.devices if device.kind is DeviceKind.VRAM]
    return sum(device.total_bytes - device.overhead_bytes for device in gpus)


def guides(plan: Plan) -> int:
    """Parameters times bytes per weight, and the KV cache by layers and KV heads."""
    if not is_plain(plan):
        raise NoEstimate("the formula knows no layers in host RAM and no second GPU")
    header = header_of(plan.model)
    layer = read_shape(header).layers[0]
    model = QuickModel(
        parameter_count=sum(tensor.elements for tensor in header.tensors),
        quantization=_QUANTIZATION,
        layer_count=read_shape(header).layer_count,
        kv_head_count=layer.kv_head_count,
        key_length=layer.key_length,
        value_length=layer.value_length,
    )
    try:
        return quick_estimate(model, plan.settings).vram_bytes - QUICK_OVERHEAD_BYTES
    except EstimateError as error:
        raise NoEstimate(str(error)) from error


def gguf_parser(plan: Plan, binary: str, folder: Path) -> int:
    settings, path = plan.settings, folder / f"{plan.model}.gguf"
    if not {settings.cache_type_k, settings.cache_type_v} <= set(CACHE_TYPES):
        raise NoEstimate("it knows no such cache")
    if not path.exists():
        write_model(plan.model, path)
    shares = settings.split or (1,) * plan.gpu_count
    layers = -1 if settings.gpu_layers is None else settings.gpu_layers
    arguments = {
        "--path": path,
        "--ctx-size": settings.total_context,
        "--parallel-size": settings.parallel,
        "--batch-size": settings.batch,
        "--ubatch-size": settings.ubatch,
        "--cache-type-k": settings.cache_type_k,
        "--cache-type-v": settings.cache_type_v,
        "--gpu-layers": layers,
        "--platform-footprint": "0,0",
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    if len(shares) > 1:
        words += ["--tensor-split", ",".join(f"{share:g}" for share in shares)]
    if settings.cpu_moe_layers:
        layers_in_ram = "|".join(map(str, range(min(settings.cpu_moe_layers, 200))))
        words += ["--override-tensor", rf"blk\.({layers_in_ram})\.ffn_.*_exps=CPU"]
    words += ["--flash-attention"] * (settings.flash_attention is not False)
    words += ["--swa-full"] * settings.swa_full + ["--no-kv-offload"] * (not settings.kv_offload)
    answer = subprocess.run(
        [binary, *words, "--estimate", "--json"], capture_output=True, timeout=TIMEOUT_SECONDS, check=False, text=True
    )
    if answer.returncode:
        raise NoEstimate((answer.stderr or answer.stdout).strip().splitlines()[-1][:80])
    return sum(int(gpu["nonuma"]) for gpu in json.loads(answer.stdout)["estimate"]["items"][0]["vrams"])


def _line(values: list[float]) -> str:
    ordered = sorted(values)
    return " ".join(f"{value:9.2%}" for value in (median(ordered), ordered[int(0.95 * len(ordered))], ordered[-1]))


if __name__ == "__main__":
    main()
