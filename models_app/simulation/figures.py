"""Plausible figures of a GPU at work: the same for the same seed and the same number of sweeps."""

from __future__ import annotations

import math
import random

IDLE_CELSIUS = 34


def utilization_percent(activity: float, gpu_index: int, sequence: int, seed: int) -> int:
    """A wave with noise around ``activity`` (0 to 1 and more); 0 for an idle GPU."""
    if activity <= 0:
        return 0
    noise = random.Random(f"{seed}:{gpu_index}:{sequence}").uniform(-8, 8)
    wave = 18 * math.sin(sequence / 7 + gpu_index * 2 + seed)
    return max(0, min(100, round(100 * min(activity, 0.9) + wave + noise)))


def power_milliwatts(limit_milliwatts: int, utilization: int) -> int:
    """Six per cent of the limit when idle, 88 at full load."""
    return int(limit_milliwatts * (0.06 + 0.82 * utilization / 100))


def temperature_celsius(utilization: int, last_celsius: int | None) -> int:
    """A quarter of the way from the last temperature to the one that the load will lead to."""
    target = IDLE_CELSIUS + 0.42 * utilization
    if last_celsius is None:
        return round(target)
    step = 0.25 * (target - last_celsius)
    return last_celsius + (math.ceil(step) if step > 0 else math.floor(step))
