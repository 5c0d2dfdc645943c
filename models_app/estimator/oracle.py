"""The oracle grade: llama.cpp's own plan of a load, corrected for what its planner cannot be asked.

``llama-fit-params`` reserves logits for a whole micro-batch, where a server reserves them for its slots; it knows no cache
that several slots share, and no drafting. The plan is therefore compared with the header's estimate of what was asked, and
the difference is added to the header's estimate of what is wanted: the rules decide only where the planner is silent.
Source of its output: ``common_fit_print`` in ``common/fit.cpp``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, EstimateError, Grade, LoadSettings

_MIB = 1024**2
_ROW = re.compile(r"(\S+) (\d{1,9}) (\d{1,9}) (\d{1,9}) ?")
_HOST = "Host"
_ROUNDING_BYTES = _MIB // 2
"""The planner cuts every term to whole MiB: half of one is added, and half of one may be wrong."""
_CONTEXT_ERROR_BYTES = 100 * _MIB
_CORRECTION_ERROR_SHARE = 0.10


class NoPlan(EstimateError):
    """The planner's answer is none, or is about other devices."""


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """One line of a plan, in bytes; ``cache_bytes`` are KV cache and recurrent state together."""

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int


def asked_settings(settings: LoadSettings) -> LoadSettings:
    """The nearest settings that the planner understands, as the header grade has to estimate them."""
    if settings.unified_kv:
        settings = replace(settings, context_length=settings.total_context, parallel=1, unified_kv=False)
    return replace(settings, embedding=True, draft_length=0)


def planner_arguments(settings: LoadSettings, shares: Sequence[float] = ()) -> tuple[str, ...]:
    """The command line that asks for ``asked_settings``. ``shares`` divide the model where the settings do not."""
    asked = asked_settings(settings)
    flash = {None: "auto", True: "on", False: "off"}[asked.flash_attention]
    values = {
        "--ctx-size": asked.total_context,
        "--parallel": asked.parallel,
        "--batch-size": asked.batch,
        "--ubatch-size": asked.ubatch,
        "--n-gpu-layers": 99_999 if asked.gpu_layers is None else asked.gpu_layers,
        "--cache-type-k": asked.cache_type_k,
        "--cache-type-v": asked.cache_type_v,
        "--flash-attn": flash,
    }
    if asked.cpu_moe_layers:
        values["--n-cpu-moe"] = asked.cpu_moe_layers
    if len(asked.split or shares) > 1:
        values["--tensor-split"] = ",".join(f"{share:g}" for share in asked.split or shares)
    switches = [("--swa-full", asked.swa_full), ("--no-kv-offload", not asked.kv_offload)]
    words = [word for flag, value in values.items() for word in (flag, str(value))]
    return (*words, *(flag for flag, is_on in switches if is_on))


def parse_plan(text: str) -> tuple[PlannedDevice, ...]:
    """The devices of a plan, host RAM last. Raises ``NoPlan`` where the text holds none."""
    rows = [match.groups() for line in text.splitlines() if (match := _ROW.fullmatch(line))]
    if not rows or rows[-1][0] != _HOST or len({row[0] for row in rows}) < len(rows):
        raise NoPlan("The planner's answer holds no plan.")
    return tuple(PlannedDevice(*map(_bytes, figures)) for _, *figures in rows)


def _bytes(figure: str) -> int:
    return int(figure) * _MIB + _ROUNDING_BYTES if int(figure) else 0


def oracle_estimate(wanted: Estimate, asked: Estimate, plan: Sequence[PlannedDevice]) -> Estimate:
    """The plan as an estimate. ``wanted`` and ``asked`` are the header's estimates of the load and of what was planned.

    Raises ``NoPlan`` where the planner sees another number of GPUs than the estimates are for.
    """
    if len(plan) != len(wanted.devices):
        raise NoPlan(f"The planner sees {len(plan) - 1} GPUs, not {len(wanted.devices) - 1}.")
    devices = tuple(map(_corrected, wanted.devices, asked.devices, plan))
    error_bytes = sum(map(_error_bytes, devices, wanted.devices, asked.devices))
    return Estimate(Grade.ORACLE, wanted.build_profile, devices, error_bytes, wanted.notes)


def _error_bytes(device: DeviceEstimate, wanted: DeviceEstimate, asked: DeviceEstimate) -> int:
    """The device context, which no planner counts, the rounding of three terms, and the correction by the rules."""
    correction = min(wanted.compute_bytes, abs(wanted.compute_bytes - asked.compute_bytes))
    context_bytes = _CONTEXT_ERROR_BYTES if device.kind is DeviceKind.VRAM else 0
    return context_bytes + 3 * _ROUNDING_BYTES + int(_CORRECTION_ERROR_SHARE * correction)


def _corrected(wanted: DeviceEstimate, asked: DeviceEstimate, planned: PlannedDevice) -> DeviceEstimate:
    cache_bytes = planned.cache_bytes - asked.kv_bytes - asked.recurrent_bytes
    # Weights that the CPU repacks lie in buffers that the plan's host line leaves out.
    weights_bytes = 0 if wanted.kind is DeviceKind.HOST_RAM else planned.weights_bytes - asked.weights_bytes
    return replace(
        wanted,
        weights_bytes=max(0, wanted.weights_bytes + _beyond_rounding(weights_bytes)),
        kv_bytes=max(0, wanted.kv_bytes + _beyond_rounding(cache_bytes)),
        compute_bytes=max(0, wanted.compute_bytes + _beyond_rounding(planned.compute_bytes - asked.compute_bytes)),
    )


def _beyond_rounding(difference: int) -> int:
    """A difference that rounding explains is none: the header's figure is the finer one."""
    return 0 if abs(difference) <= _ROUNDING_BYTES else difference
