"""The values that every grade of estimate shares: the settings of a load, the estimate, and its errors.

Bytes are whole numbers of bytes; token counts are tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME, TensorType

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""The types that llama.cpp accepts for the KV cache."""


class EstimateError(ValueError):
    """An estimate cannot be made from what was given; the message says what to give instead."""


class UnknownQuantization(EstimateError):
    """The quantisation has no known number of bytes per weight."""


class MissingShape(EstimateError):
    """The model's shape lacks numbers that the formula needs. ``missing`` names them."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        self.missing = missing
        super().__init__(f"The model's shape is incomplete: give {', '.join(missing)}.")


class InvalidSettings(EstimateError):
    """A setting of the load is out of range or contradicts another."""


class ImpossibleSize(EstimateError):
    """More bytes than any machine has: the header, the shape or the settings are wrong."""


MOST_BYTES = 2**53
"""8 PiB. What is more could be neither stored nor sent as an exact number."""


def possible(size_bytes: int) -> int:
    """The bytes as they are. Raises ``ImpossibleSize``."""
    if size_bytes > MOST_BYTES:
        raise ImpossibleSize(
            f"It would take {size_bytes / 1024**5:,.0f} PiB: the model's numbers or the settings are wrong."
        )
    return size_bytes


class Grade(StrEnum):
    """The evidence that an estimate stands on, weakest first."""

    QUICK = "quick"
    """Size or parameters, and the shape: a rule of thumb."""
    HEADER = "header"
    """The model's own header, tensor by tensor."""
    ORACLE = "oracle"
    """The planner of the server that will load it."""
    LEARNED = "learned"
    """An earlier load of the same variant with the same settings."""


class DeviceKind(StrEnum):
    """The kind of memory that a device's share is taken from."""

    VRAM = "vram"
    HOST_RAM = "host_ram"


def cache_type(name: str) -> TensorType:
    """The storage type of a KV cache by llama.cpp's name. Raises ``InvalidSettings`` for a type it does not offer."""
    if name.lower() not in CACHE_TYPES:
        raise InvalidSettings(f"Unknown cache type {name!r}. Known: {', '.join(CACHE_TYPES)}.")
    return TENSOR_TYPES_BY_NAME[name.upper()]


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a model is to be loaded, in llama.cpp's terms, for every grade of estimate.

    ``context_length`` is what one slot can hold, in tokens. With ``unified_kv`` all ``parallel`` slots share one cache
    of that length; without it each has its own. ``gpu_layers`` counts as llama.cpp's ``-ngl`` does, the output layer
    included; ``None`` is everything. ``flash_attention`` ``None`` is llama.cpp's automatic choice. ``split`` are the
    shares of the GPUs (``--tensor-split``), empty for the default, by free memory. ``cpu_moe_layers`` is the number of
    first layers whose experts stay in host RAM. ``draft_length`` is the number of tokens that the model's own MTP head
    drafts, 0 where it is off. Raises ``InvalidSettings``.
    """

    context_length: int = 4096
    parallel: int = 1
    unified_kv: bool = False
    gpu_layers: int | None = None
    batch: int = 2048
    ubatch: int = 512
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attention: bool | None = None
    split: tuple[float, ...] = ()
    swa_full: bool = False
    kv_offload: bool = True
    cpu_moe_layers: int = 0
    draft_length: int = 0
    embedding: bool = False
    """Whether the server is asked for embeddings rather than text (``--embedding``)."""

    def __post_init__(self) -> None:
        at_least_one = {name: getattr(self, name) for name in ("context_length", "parallel", "batch", "ubatch")}
        not_negative = {"cpu_moe_layers": self.cpu_moe_layers, "draft_length": self.draft_length}
        if self.gpu_layers is not None:
            not_negative["gpu_layers"] = self.gpu_layers
        for name, value in at_least_one.items():
            if value < 1:
                raise InvalidSettings(f"{name} must be at least 1, not {value}.")
        for name, value in not_negative.items():
            if value < 0:
                raise InvalidSettings(f"{name} must not be negative, not {value}.")
        if any(share < 0 for share in self.split) or (self.split and sum(self.split) <= 0):
            raise InvalidSettings("split must hold shares of 0 or more, and not only zeros.")
        cache_type(self.cache_type_k)
        if cache_type(self.cache_type_v).is_quantized and self.flash_attention is False:
            raise InvalidSettings("A quantised V cache needs flash attention.")

    @property
    def total_context(self) -> int:
        """Tokens of the whole context (``--ctx-size``), all slots together."""
        return self.context_length if self.unified_kv else self.context_length * self.parallel


@dataclass(frozen=True, slots=True)
class DeviceEstimate:
    """What one device gives, term by term."""

    name: str
    kind: DeviceKind
    weights_bytes: int = 0
    kv_bytes: int = 0
    recurrent_bytes: int = 0
    compute_bytes: int = 0
    overhead_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All terms of this device."""
        return self.weights_bytes + self.kv_bytes + self.recurrent_bytes + self.compute_bytes + self.overhead_bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a load takes on each device. The truth is expected within ``total_bytes`` ± ``error_bytes``.

    ``build_profile`` names the server build whose rules were applied, and ``notes`` say in words what was assumed.
    """

    grade: Grade
    build_profile: str
    devices: tuple[DeviceEstimate, ...]
    error_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """All devices together, host RAM included."""
        return sum(device.total_bytes for device in self.devices)

    @property
    def vram_bytes(self) -> int:
        """All GPUs together."""
        return sum(device.total_bytes for device in self.devices if device.kind is DeviceKind.VRAM)
