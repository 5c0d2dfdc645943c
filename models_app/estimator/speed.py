"""Predicted speed relative to now, with the name of the evidence. A measured speed always wins over a rule of thumb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

OFFLOAD_PRIOR = "rule of thumb: published offload table (75 % on the GPU 0.6×, 50 % 0.4×, 25 % 0.2×, none 0.1×)"
QUANTIZATION_PRIOR = "rule of thumb: published tokens/s of a 7B model by quantisation on a 24 GB GPU"
UNCHANGED = "rule of thumb: no effect on speed is known"
MEASURED = "measured tokens/s"
SCALED = "measured tokens/s, scaled by the published table"

SPEED_BY_GPU_SHARE = ((0.0, 0.1), (0.25, 0.2), (0.5, 0.4), (0.75, 0.6), (1.0, 1.0))
"""Relative speed by the share of the model on the GPU. Other guides disagree: one says 3 × slower already at 75 %."""

TOKENS_PER_SECOND_7B = {"Q8_0": 35.0, "Q6_K": 42.0, "Q5_K_M": 45.0, "Q4_K_M": 48.0, "Q3_K_S": 44.0}
"""A 7B model wholly on a 24 GB GPU."""
SAME_SHARE = 0.02
"""Shares that differ by no more are the same load: half of a layer of a small model."""

Measured = Mapping[float, float]
"""Measured tokens a second of one model, by the share of it (0 to 1) that was on the GPU."""


@dataclass(frozen=True, slots=True)
class Speed:
    """``factor`` is relative to the model wholly on the GPU as it is now; ``tokens_per_second`` where any was measured."""

    factor: float
    evidence: str
    tokens_per_second: float | None = None

    @property
    def is_measured(self) -> bool:
        """Whether this very speed was seen, rather than predicted."""
        return self.evidence == MEASURED


def speed_at_gpu_share(share: float, measured: Measured | None = None) -> Speed:
    """The speed with ``share`` (0 to 1) of the model on the GPU.

    From the nearest measured point, scaled by the published table; from the table alone where nothing was measured.
    """
    share = min(1.0, max(0.0, share))
    if not measured:
        return Speed(_prior(share), OFFLOAD_PRIOR)
    then, evidence = _from_measured(share, measured)
    return Speed(then / _from_measured(1.0, measured)[0], evidence, then)


def speed_of_quantization(current: str, other: str, measured: Measured | None = None) -> Speed:
    """The speed after changing the quantisation, where the table knows both; unchanged otherwise."""
    now, then = TOKENS_PER_SECOND_7B.get(current), TOKENS_PER_SECOND_7B.get(other)
    whole = _from_measured(1.0, measured)[0] if measured else None
    if not now or not then:
        return Speed(1.0, UNCHANGED, whole)
    factor = then / now
    return Speed(factor, QUANTIZATION_PRIOR) if whole is None else Speed(factor, SCALED, factor * whole)


def speed_unchanged(measured: Measured | None = None) -> Speed:
    """The speed after a change that no guide says anything about."""
    return Speed(1.0, UNCHANGED, _from_measured(1.0, measured)[0] if measured else None)


def _prior(share: float) -> float:
    """Interpolated in the published table."""
    for (low, slow), (high, fast) in pairwise(SPEED_BY_GPU_SHARE):
        if share <= high:
            return slow + (fast - slow) * (share - low) / (high - low)
    return 1.0


def _from_measured(share: float, measured: Measured) -> tuple[float, str]:
    """Tokens a second, and whether they were measured or scaled from what was."""
    nearest = min(measured, key=lambda known: abs(known - share))
    if abs(nearest - share) <= SAME_SHARE:
        return measured[nearest], MEASURED
    return measured[nearest] * _prior(share) / _prior(nearest), SCALED
