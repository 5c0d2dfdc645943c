"""What would make a load fit, in the order of least harm: quantisation, context, batch, layers, KV cache in host RAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from models_app.estimator.quick import BYTES_PER_WEIGHT, bytes_per_weight
from models_app.estimator.speed import Measured, Speed, speed_at_gpu_share, speed_of_quantization, speed_unchanged
from models_app.estimator.types import DeviceKind, Estimate, EstimateError, LoadSettings

LADDER = ("FP16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS")
"""Quantisations to step down through, each clearly smaller than the one before."""
SMALLEST_CONTEXT = 2048
SMALLEST_BATCH = 128

Estimator = Callable[[LoadSettings], Estimate]
"""Any grade's estimate of one model, as a function of the settings."""


class Remedy(StrEnum):
    """The kinds of change, in the order in which they are offered."""

    QUANTIZATION = "quantization"
    CONTEXT = "context"
    BATCH = "batch"
    LAYERS = "layers"
    KV_IN_RAM = "kv_in_ram"


@dataclass(frozen=True, slots=True)
class Advice:
    """One change and what comes of it. ``saved_bytes`` and ``vram_bytes`` are of all GPUs together."""

    remedy: Remedy
    description: str
    settings: LoadSettings
    quantization: str
    vram_bytes: int
    saved_bytes: int
    fits: bool
    speed: Speed


def fits(estimate: Estimate, free_bytes: Sequence[int]) -> bool:
    """Whether every GPU's share is within its free bytes, from which the caller has taken the headroom."""
    needed = [device.total_bytes for device in estimate.devices if device.kind is DeviceKind.VRAM]
    return len(needed) <= len(free_bytes) and all(need <= free for need, free in zip(needed, free_bytes, strict=False))


def layers_that_fit(estimate: Estimator, settings: LoadSettings, layer_count: int, free_bytes: Sequence[int]) -> int:
    """The most layers (``gpu_layers``, the output layer included) that fit; 0 where not even one does.

    Found by bisection over whole estimates, so that layers of different sizes count as what they are.
    """
    low, high = 0, layer_count + 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(estimate(replace(settings, gpu_layers=middle)), free_bytes):
            low = middle
        else:
            high = middle - 1
    return low


def advise(
    estimate: Estimator,
    settings: LoadSettings,
    layer_count: int,
    free_bytes: Sequence[int],
    quantization: str = "",
    measured: Measured | None = None,
) -> tuple[Advice, ...]:
    """Every remedy that saves memory, in order; each alone, the first of its kind that fits or else the strongest.

    ``measured`` are this model's own speeds on these GPUs; they beat the rules of thumb.
    """
    advisor = _Advisor(estimate, settings, layer_count, free_bytes, quantization, measured)
    offers = (advisor.smaller_weights, advisor.context, advisor.batch, advisor.layers, advisor.kv_in_ram)
    chosen = (_best(list(offer())) for offer in offers)
    return tuple(advice for advice in chosen if advice is not None and advice.saved_bytes > 0)


def _best(offers: list[Advice]) -> Advice | None:
    """The mildest that fits, else the strongest."""
    return next((advice for advice in offers if advice.fits), offers[-1] if offers else None)


class _Advisor:
    def __init__(
        self,
        estimate: Estimator,
        settings: LoadSettings,
        layer_count: int,
        free_bytes: Sequence[int],
        quantization: str,
        measured: Measured | None,
    ) -> None:
        self._estimate = estimate
        self._settings = settings
        self._layer_count = layer_count
        self._free_bytes = free_bytes
        self._quantization = quantization.upper()
        self._measured = measured
        self._now = estimate(settings)

    def smaller_weights(self) -> Iterator[Advice]:
        """Smaller quantisations: the weights shrink in the proportion of bytes per weight."""
        try:
            current = bytes_per_weight(self._quantization)
        except EstimateError:
            return
        for name in LADDER:
            ratio = BYTES_PER_WEIGHT[name] / current
            if ratio < 0.95:
                smaller = _with_weights(self._now, ratio)
                speed = speed_of_quantization(self._quantization, name, self._measured)
                yield self._advice(Remedy.QUANTIZATION, f"Use {name}.", self._settings, smaller, speed, name)

    def context(self) -> Iterator[Advice]:
        """Half the context, and half again."""
        tokens = self._settings.context_length // 2
        while tokens >= SMALLEST_CONTEXT:
            settings = replace(self._settings, context_length=tokens)
            yield self._try(Remedy.CONTEXT, f"Use a context of {tokens:,} tokens.", settings)
            tokens //= 2

    def batch(self) -> Iterator[Advice]:
        """Smaller micro-batches, which shrink the compute buffer."""
        size = self._settings.ubatch // 2
        while size >= SMALLEST_BATCH:
            settings = replace(self._settings, ubatch=size, batch=min(self._settings.batch, 4 * size))
            yield self._try(Remedy.BATCH, f"Use micro-batches of {size:,} tokens.", settings)
            size //= 2

    def layers(self) -> Iterator[Advice]:
        """As many layers on the GPU as fit."""
        count = layers_that_fit(self._estimate, self._settings, self._layer_count, self._free_bytes)
        settings = replace(self._settings, gpu_layers=count)
        share = count / (self._layer_count + 1)
        description = f"Put {count} of {self._layer_count + 1} layers on the GPU."
        yield self._advice(
            Remedy.LAYERS, description, settings, self._estimate(settings), speed_at_gpu_share(share, self._measured)
        )

    def kv_in_ram(self) -> Iterator[Advice]:
        """The KV cache in host RAM."""
        settings = replace(self._settings, kv_offload=False)
        estimate = self._estimate(settings)
        share = estimate.vram_bytes / max(1, self._now.vram_bytes)
        speed = speed_at_gpu_share(share, self._measured)
        yield self._advice(Remedy.KV_IN_RAM, "Keep the KV cache in host RAM.", settings, estimate, speed)

    def _try(self, remedy: Remedy, description: str, settings: LoadSettings) -> Advice:
        return self._advice(remedy, description, settings, self._estimate(settings), speed_unchanged(self._measured))

    def _advice(
        self,
        remedy: Remedy,
        description: str,
        settings: LoadSettings,
        estimate: Estimate,
        speed: Speed,
        quantization: str = "",
    ) -> Advice:
        vram_bytes = estimate.vram_bytes
        saved_bytes = self._now.vram_bytes - vram_bytes
        quantization = quantization or self._quantization
        fitting = fits(estimate, self._free_bytes)
        return Advice(remedy, description, settings, quantization, vram_bytes, saved_bytes, fitting, speed)


def _with_weights(estimate: Estimate, ratio: float) -> Estimate:
    devices = tuple(replace(device, weights_bytes=int(device.weights_bytes * ratio)) for device in estimate.devices)
    return replace(estimate, devices=devices)
