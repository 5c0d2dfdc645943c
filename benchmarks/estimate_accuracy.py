"""How close are the estimates? Per term, against logged figures, llama.cpp's planner and a running llama-server.

    python -m benchmarks.estimate_accuracy [--server PATH]

Each table gives the number of comparisons, the median, the 95th percentile and the maximum of the relative error. The
logged figures come from public logs of llama.cpp and Ollama; rows that cannot be compared are named with the reason.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.mixes import requantised
from benchmarks.real_server import compare_with_server
from models_app.estimator.header import CONTEXT_BYTES, header_estimate
from models_app.estimator.profiles import PROFILES
from models_app.estimator.quick import QuickModel, quick_estimate
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import EstimateError, LoadSettings
from models_app.gguf.header import GgufHeader
from tests.tools.model_shapes import GPU_BYTES, Plan, header_of, model_names, recorded_plans

MIB = 1024**2
Errors = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=Path, help="a llama-server binary to compare with")
    options = parser.parse_args()
    measured_rows()
    planner()
    speed()
    if options.server:
        table("A running llama-server (weights, caches and states in host RAM)", compare_with_server(options.server))


def table(title: str, errors: Errors) -> None:
    """Print one line a term."""
    print(f"\n{title}\n{'term':28} {'n':>5} {'exact':>6} {'median':>8} {'p95':>8} {'max':>8}")
    for term, values in errors.items():
        ordered = sorted(values)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        exact = sum(value <= 0.001 for value in ordered)
        print(f"{term:28} {len(ordered):5} {exact:6} {median(ordered):8.2%} {p95:8.2%} {ordered[-1]:8.2%}")


def measured_rows() -> None:
    """Logged figures, and beside them the formula of the planning guides."""
    rows = json.loads((Path(__file__).parent / "recorded" / "measured.json").read_text())
    errors: Errors = defaultdict(list)
    overheads: dict[str, list[float]] = defaultdict(list)
    skipped = []
    for number, row in enumerate(rows):
        if "skipped" in row:
            skipped.append(f"  row {number} {row['model']}: {row['skipped']}")
            continue
        skipped += [f"  row {number} {row['model']}, {term}: {why}" for term, why in row.get("not_compared", {}).items()]
        _compare_row(number, row, errors, overheads)
    table("Logged figures (42 rows)", errors)
    _leave_one_out(overheads)
    print("Not compared:", *skipped, sep="\n")


def _compare_row(number: int, row: dict[str, Any], errors: Errors, overheads: dict[str, list[float]]) -> None:
    header = requantised(header_of(row["shape"]), row["mix"]) if "mix" in row else header_of(row["shape"])
    settings = LoadSettings(**row["settings"])
    gpus = [GPU_BYTES] * row.get("gpus", 1)
    estimate = header_estimate(header, settings, PROFILES[row["profile"]], gpus)
    measured, gpu = row["measured_mib"], estimate.devices[0]
    known = {
        "kv": sum(device.kv_bytes for device in estimate.devices[:-1]),
        "recurrent": gpu.recurrent_bytes,
        "compute": gpu.compute_bytes,
        "host_compute": estimate.devices[-1].compute_bytes,
    }
    if "mix" in row:
        known["weights_gpu"] = sum(device.weights_bytes for device in estimate.devices[:-1])
    for term, size in known.items():
        if measured.get(term) and term not in row.get("not_compared", {}):
            errors[term].append(abs(size / MIB / measured[term] - 1))
            if errors[term][-1] > 0.02:
                print(f"  row {number} {row['model']}, {term}: {size / MIB:.2f} MiB, logged {measured[term]}")
    for device, logged in zip(estimate.devices, measured.get("weights_by_gpu", []), strict=False):
        errors["weights of one of several GPUs"].append(abs(device.weights_bytes / MIB / logged - 1))
    _compare_totals(row, header, settings, known, errors)
    terms = ("weights_gpu", "kv", "compute", "nvidia_smi")
    if all(term in measured for term in terms) and "CUDA" in row["backend"]:
        parts = sum(measured[term] for term in terms[:-1]) + measured.get("recurrent", 0)
        if number != 19:  # its MTP context has a buffer of its own beside the terms
            overheads[row["shape"]].append(measured["nvidia_smi"] - parts)


def _compare_totals(
    row: dict[str, Any], header: GgufHeader, settings: LoadSettings, known: dict[str, int], errors: Errors
) -> None:
    """The sum of the buffers, where all are logged; the planning guides' formula for the same sum beside it."""
    measured = row["measured_mib"]
    if "weights_gpu" not in known or not all(measured.get(term) for term in ("weights_gpu", "kv", "compute")):
        return
    logged = measured["weights_gpu"] + measured["kv"] + measured["compute"]
    ours = (known["weights_gpu"] + known["kv"] + known["compute"]) / MIB
    errors["total of the buffers"].append(abs(ours / logged - 1))
    if settings.gpu_layers is None and row["quantization"] in ("F16", "Q8_0", "Q4_K_M", "Q4_0"):
        layer = read_shape(header).layers[0]
        model = QuickModel(
            parameter_count=sum(tensor.elements for tensor in header.tensors),
            quantization=row["quantization"],
            layer_count=read_shape(header).layer_count,
            kv_head_count=layer.kv_head_count,
            key_length=layer.key_length,
            value_length=layer.value_length,
        )
        guess = quick_estimate(model, settings).vram_bytes / MIB
        errors["  same, planning guides"].append(abs(guess / (logged + CONTEXT_BYTES / MIB) - 1))


def _leave_one_out(overheads: dict[str, list[float]]) -> None:
    """The device context is the one fitted constant: predict each architecture's from the others'."""
    for held_out, values in overheads.items():
        others = [value for name, rest in overheads.items() if name != held_out for value in rest]
        fitted = f"{median(others):.0f} MiB from the others" if others else "no other architecture logged it"
        span = f"{min(values):.0f} to {max(values):.0f} MiB"
        print(f"device context of {held_out}: {span}; {fitted}; used {CONTEXT_BYTES / MIB:.0f}")


def planner() -> None:
    """llama.cpp's own plans for GPUs that answer as CUDA does."""
    seen, unseen = recorded_plans(), recorded_plans(unseen=True)
    compare_plans("one GPU, everything on it", [plan for plan in seen if is_plain(plan)])
    compare_plans("partly on the host, or several GPUs", [plan for plan in seen if not is_plain(plan)])
    compare_plans("12 settings that no rule was written from", unseen)


def is_plain(plan: Plan) -> bool:
    """One GPU with everything on it."""
    settings = plan.settings
    return plan.gpu_count == 1 and settings.gpu_layers is None and settings.kv_offload and not settings.cpu_moe_layers


def compare_plans(title: str, plans: Sequence[Plan]) -> None:
    """Each term on each device, the host's buffer, and the worst models."""
    errors: Errors = defaultdict(list)
    worst: dict[str, float] = defaultdict(float)
    for plan in plans:
        try:
            estimate = header_estimate(header_of(plan.model), plan.settings, gpu_bytes=[GPU_BYTES] * plan.gpu_count)
        except EstimateError as error:
            print(f"  {plan.model}: {error}")
            continue
        for device in estimate.devices[:-1]:
            weights, caches, compute = plan.bytes[device.name]
            pairs = {
                "weights": (device.weights_bytes, weights),
                "KV and recurrent state": (device.kv_bytes + device.recurrent_bytes, caches),
                "compute": (device.compute_bytes, compute),
                "total": (device.total_bytes - device.overhead_bytes, weights + caches + compute),
            }
            for term, (ours, theirs) in pairs.items():
                if theirs:
                    errors[term].append(abs(ours / theirs - 1))
                    worst[plan.model] = max(worst[plan.model], errors[term][-1] if term == "total" else 0.0)
        if plan.bytes["Host"][2]:
            errors["compute in host RAM"].append(abs(estimate.devices[-1].compute_bytes / plan.bytes["Host"][2] - 1))
    table(f"llama.cpp's planner, 71 models: {title}", errors)
    far = sorted(((error, model) for model, error in worst.items() if error > 0.04), reverse=True)
    print("  more than 4 % of a total in:", ", ".join(f"{model} {error:.0%}" for error, model in far) or "none")


def speed() -> None:
    """A warm estimate of every model, the shape read once; processor time, so that other programs do not count."""
    ways = {"everything on one GPU": (1, {}), "20 layers on the GPU": (1, {"gpu_layers": 20}), "three GPUs": (3, {})}
    for title, (gpu_count, settings) in ways.items():
        durations = sorted((_seconds(name, gpu_count, settings), name) for name in model_names())
        times = [1000 * seconds for seconds, _ in durations]
        slowest = ", ".join(f"{name} {1000 * seconds:.1f}" for seconds, name in durations[-3:])
        p95 = times[int(0.95 * len(times))]
        print(f"\nA warm estimate, {title}: median {median(times):.1f} ms, p95 {p95:.1f} ms; slowest: {slowest} ms")


def _seconds(name: str, gpu_count: int, settings: dict[str, Any]) -> float:
    """The fastest of some estimates, at a context that none had before."""
    shape, durations = read_shape(header_of(name)), []
    for number in range(7):
        start = time.process_time()
        header_estimate(
            shape, LoadSettings(context_length=8192 + 256 * number, **settings), gpu_bytes=[GPU_BYTES] * gpu_count
        )
        durations.append(time.process_time() - start)
    return min(durations)


if __name__ == "__main__":
    main()
