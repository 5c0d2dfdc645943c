"""Which model is asked for next, from which followed which so far: first-order frequencies that fade with time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

DEFAULT_HALF_LIFE_SECONDS = 6 * 3600.0
DEFAULT_CONFIDENCE = 0.5
LEAST_WEIGHT = 2.0
"""Fewer sightings than this, faded, are no ground to load anything."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most frequent successor and its share of all successors seen."""

    model: str
    confidence: float


class Predictor:
    """Learns from requests in the order of their time; a sighting counts half after each half-life."""

    def __init__(self, half_life_seconds: float = DEFAULT_HALF_LIFE_SECONDS) -> None:
        self._half_life = half_life_seconds
        self._weights: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
        self._last: str | None = None

    def observe(self, model: str, at: float) -> None:
        """A request for a model. Another for the same model is no change, and teaches nothing."""
        if self._last is not None and self._last != model:
            followers = self._weights[self._last]
            followers[model] = (self._faded(followers.get(model, (0.0, at)), at) + 1.0, at)
        self._last = model

    def next(self, at: float, confidence: float = DEFAULT_CONFIDENCE) -> Prediction | None:
        """What is likely to follow the last request, if its share is at least ``confidence``."""
        followers = self._weights.get(self._last or "", {})
        weights = {model: self._faded(seen, at) for model, seen in followers.items()}
        total = sum(weights.values())
        if total < LEAST_WEIGHT:
            return None
        best = max(sorted(weights), key=lambda model: weights[model])
        share = weights[best] / total
        return Prediction(best, share) if share >= confidence else None

    def _faded(self, seen: tuple[float, float], at: float) -> float:
        weight, since = seen
        return float(weight * 0.5 ** (max(0.0, at - since) / self._half_life))
