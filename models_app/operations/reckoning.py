"""What a load will take: the quick estimate from what the catalog knows of a variant."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Installation, Variant
from models_app.estimator.quick import QUICK_ERROR_SHARE, QUICK_OVERHEAD_BYTES, QuickModel, quick_estimate
from models_app.estimator.types import DeviceKind, EstimateError, InvalidSettings, LoadSettings, MissingShape
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.operations.refusals import RequestRefused

ASSUMED_CONTEXT_LENGTH = 4096
"""The context where nobody chose one and none is observed: what Ollama takes on small GPUs."""
UNKNOWN_KV_SHARE = 0.25
"""How far the error band is widened, as a share of the weights, where the KV cache cannot be reckoned."""


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The terms in bytes of VRAM, ``None`` where unknown; ``ram_bytes`` is what stays in the host's RAM."""

    weights_bytes: int | None
    kv_bytes: int | None
    overhead_bytes: int
    ram_bytes: int
    error_bytes: int
    context_length: int
    unknown: tuple[str, ...] = ()

    @property
    def needed_bytes(self) -> int | None:
        """The known terms together; ``None`` without the weights."""
        if self.weights_bytes is None:
            return None
        return self.weights_bytes + (self.kv_bytes or 0) + self.overhead_bytes

    @property
    def model_bytes(self) -> int | None:
        """Weights and KV cache: what a load surely takes, without the allowance for contexts and buffers."""
        return None if self.weights_bytes is None else self.weights_bytes + (self.kv_bytes or 0)


def installed_variant(endpoint: Endpoint, model: str) -> tuple[Variant | None, int]:
    """The variant behind an endpoint's name for it, and the size of its files in bytes (0 where unknown)."""
    found = Installation.objects.select_related("variant").filter(endpoint=endpoint, name=model).first()
    return (found.variant, found.size_bytes or found.variant.file_size_bytes) if found else (None, 0)


def reckon(endpoint: Endpoint, model: str, options: LoadOptions) -> Reckoning:
    """The estimate of a load. Raises ``RequestRefused`` (``invalid_option``) for options that contradict each other."""
    variant, size_bytes = installed_variant(endpoint, model)
    settings, unknown = _settings(endpoint, model, options, variant)
    quick = _quick_model(variant, size_bytes)
    try:
        return _known(quick, settings, unknown)
    except MissingShape as error:
        return _partly_known(size_bytes, settings, (*unknown, *(f"Unknown: {name}." for name in error.missing)))
    except EstimateError as error:
        return _partly_known(size_bytes, settings, (*unknown, str(error)))


def _known(model: QuickModel, settings: LoadSettings, unknown: tuple[str, ...]) -> Reckoning:
    estimate = quick_estimate(model, settings)
    on_gpus = [device for device in estimate.devices if device.kind is DeviceKind.VRAM]
    return Reckoning(
        weights_bytes=sum(device.weights_bytes for device in on_gpus),
        kv_bytes=sum(device.kv_bytes for device in on_gpus),
        overhead_bytes=sum(device.overhead_bytes for device in on_gpus),
        ram_bytes=estimate.total_bytes - estimate.vram_bytes,
        error_bytes=estimate.error_bytes,
        context_length=settings.context_length,
        unknown=unknown,
    )


def _partly_known(size_bytes: int, settings: LoadSettings, unknown: tuple[str, ...]) -> Reckoning:
    """Without a shape: the files' size, a wider band, and nothing for layers that stay in RAM."""
    on_cpu = settings.gpu_layers == 0
    weights_bytes = 0 if on_cpu else size_bytes or None
    overhead_bytes = 0 if on_cpu else QUICK_OVERHEAD_BYTES
    error_bytes = int((QUICK_ERROR_SHARE + UNKNOWN_KV_SHARE) * size_bytes)
    ram_bytes = size_bytes if on_cpu else 0
    return Reckoning(weights_bytes, None, overhead_bytes, ram_bytes, error_bytes, settings.context_length, unknown)


def _settings(
    endpoint: Endpoint, model: str, options: LoadOptions, variant: Variant | None
) -> tuple[LoadSettings, tuple[str, ...]]:
    context_length = options.context_length
    unknown: tuple[str, ...] = ()
    if context_length is None:
        loaded = LoadedModel.objects.filter(endpoint=endpoint, name=model).first()
        trained = (variant and variant.training_context_length) or ASSUMED_CONTEXT_LENGTH
        context_length = (loaded and loaded.context_length) or min(ASSUMED_CONTEXT_LENGTH, trained)
        unknown = (f"The endpoint chooses the context; {context_length:,} tokens are assumed.",)
    given = {
        "parallel": options.parallel,
        "gpu_layers": options.gpu_layers,
        "cache_type_k": options.cache_type_k,
        "cache_type_v": options.cache_type_v,
        "flash_attention": options.flash_attention,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return LoadSettings(context_length=context_length, **chosen), unknown  # type: ignore[arg-type]
    except InvalidSettings as error:
        raise RequestRefused("invalid_option", str(error), field="cache_type_v") from error


def _quick_model(variant: Variant | None, size_bytes: int) -> QuickModel:
    if variant is None:
        return QuickModel(weights_bytes=size_bytes or None)
    return QuickModel(
        weights_bytes=size_bytes or None,
        parameter_count=variant.parameter_count,
        quantization=variant.quantization,
        layer_count=variant.layer_count,
        kv_head_count=variant.kv_head_count,
        key_length=variant.key_length,
        value_length=variant.value_length,
        head_count=variant.head_count,
        embedding_length=variant.embedding_length,
        has_kv_cache=not variant.is_embedding,
    )
