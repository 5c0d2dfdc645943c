"""Predicted speed relative to now, with the name of the evidence. A measured speed always wins over a prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

OFFLOAD_PRIOR = "prior: published offload table (75 % on the GPU 0.6×, 50 % 0.4×, 25 % 0.2×, none 0.1×)"
QUANTIZATION_PRIOR = "prior: published tokens/s of a 7B model by quantisation on a 24 GB GPU"
UNCHANGED = "prior: no effect on speed is known"
MEASURED = "measured tokens/s"

SPEED_BY_GPU_SHARE = ((0.0, 0.1), (0.25, 0.2), (0.5, 0.4), (0.75, 0.6), (1.0, 1.0))
"""Relative speed by the share of the model on the GPU. Other guides disagree: one says 3 × slower already at 75 %."""

TOKENS_PER_SECOND_7B = {"Q8_0": 35.0, "Q6_K": 42.0, "Q5_K_M": 45.0, "Q4_K_M": 48.0, "Q3_K_S": 44.0}
"""A 7B model wholly on a 24 GB GPU."""


@dataclass(frozen=True, slots=True)
class Speed:
    """``factor`` is relative to the speed of the load as it was asked for, wholly on the GPU."""

    factor: float
    evidence: str


def speed_at_gpu_share(share: float, measured: Mapping[float, float] | None = None) -> Speed:
    """The speed with ``share`` (0 to 1) of the model on the GPU, interpolated in the prior's table.

    ``measured`` maps shares to tokens a second; with the share itself and 1.0 in it, it is used instead.
    """
    if measured and share in measured and measured.get(1.0):
        return Speed(measured[share] / measured[1.0], MEASURED)
    share = min(1.0, max(0.0, share))
    for (low, slow), (high, fast) in pairwise(SPEED_BY_GPU_SHARE):
        if share <= high:
            return Speed(slow + (fast - slow) * (share - low) / (high - low), OFFLOAD_PRIOR)
    return Speed(1.0, OFFLOAD_PRIOR)


def speed_of_quantization(current: str, other: str) -> Speed:
    """The speed after changing the quantisation, where the prior knows both; unchanged otherwise."""
    now, then = TOKENS_PER_SECOND_7B.get(current), TOKENS_PER_SECOND_7B.get(other)
    return Speed(then / now, QUANTIZATION_PRIOR) if now and then else Speed(1.0, UNCHANGED)
