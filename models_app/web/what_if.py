"""What a variant would take of one GPU: a question to play with, whose answer is a bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models_app.backends.protocol import Capability, LoadOptions
from models_app.catalog.models import Variant
from models_app.inventory.models import Endpoint, Gpu, LoadedModel
from models_app.operations.fit import DeviceFit, fit
from models_app.operations.rooms import Room
from models_app.web.fit_page import fresh_sample

MOST_SPOTS = 100
MOST_SLOTS = 16
USUAL_TOKENS, MOST_TOKENS_UNKNOWN = 8192, 131_072


@dataclass(frozen=True, slots=True)
class Spot:
    """A GPU as an endpoint would use it."""

    endpoint: Endpoint
    gpu: Gpu

    @property
    def key(self) -> str:
        """How a form names it."""
        return f"{self.endpoint.pk}:{self.gpu.pk}"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the bar. ``kind`` is ``rest``, ``taken``, ``weights``, ``kv`` or ``buffers``."""

    kind: str
    name: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The question as asked, and the answer; ``device`` is ``None`` where the GPU is not measured."""

    variants: Sequence[Variant]
    spots: Sequence[Spot]
    variant: Variant
    spot: Spot
    context_length: int
    slots: int
    most_tokens: int
    most_slots: int
    device: DeviceFit | None
    parts: tuple[Part, ...]

    @property
    def step_tokens(self) -> int:
        """How far the slider moves at once, which is also the least context."""
        return 1024 if self.most_tokens >= 16_384 else 256

    @property
    def spare_bytes(self) -> int:
        """What would be left for others."""
        return self.device.room.available_bytes - (self.device.needed_bytes or 0) if self.device else 0

    @property
    def is_beyond_training(self) -> bool:
        """Whether the context is longer than the model was made for."""
        return 0 < (self.variant.training_context_length or 0) < self.context_length

    @property
    def limit_bytes(self) -> int:
        """Where the headroom begins."""
        return self.device.room.total_bytes - self.device.room.headroom_bytes if self.device else 0


def what_if(variants: Sequence[Variant], asked: Mapping[str, str]) -> WhatIf | None:
    """The answer to a form's fields, each by a default where it is missing or makes no sense.

    ``None`` where there is no variant, or no endpoint with a GPU that could load it.
    """
    spots = _spots(variants)
    if not variants or not spots:
        return None
    variant = next((each for each in variants if str(each.pk) == asked.get("variant")), variants[0])
    spot = next((each for each in spots if each.key == asked.get("spot")), spots[0])
    most_tokens = max((each.training_context_length or 0 for each in variants), default=0) or MOST_TOKENS_UNKNOWN
    tokens = _whole(asked.get("context", ""), min(USUAL_TOKENS, most_tokens), most_tokens)
    slots = _whole(asked.get("slots", ""), 1, MOST_SLOTS)
    itself = _itself(variant, spot)
    options = LoadOptions(context_length=tokens, parallel=slots, gpu=spot.gpu.uuid)
    answer = fit(variant, [spot.endpoint], options, itself, fresh_sample(spot.endpoint.host))[0]
    device = answer.devices[0] if answer.devices else None
    parts = _parts(spot, device, itself) if device else ()
    return WhatIf(variants, spots, variant, spot, tokens, slots, most_tokens, MOST_SLOTS, device, parts)


def _spots(variants: Sequence[Variant]) -> list[Spot]:
    """Every GPU of every endpoint that can load, those first that have one of the variants."""
    having = {place.endpoint_id for variant in variants for place in variant.installations.all()}
    endpoints = Endpoint.objects.select_related("host").prefetch_related("host__gpus")
    able = [row for row in endpoints if Capability.LOAD in row.capabilities]
    able.sort(key=lambda row: row.pk not in having)
    return [Spot(row, gpu) for row in able for gpu in row.host.gpus.all() if gpu.present][:MOST_SPOTS]


def _whole(text: str, default: int, most: int) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    return min(max(1, int(text)), most) if is_number else default


def _itself(variant: Variant, spot: Spot) -> list[LoadedModel]:
    """The variant where it is loaded already: the question is what it would take instead."""
    names = [place.name for place in variant.installations.all() if place.endpoint_id == spot.endpoint.pk]
    return list(LoadedModel.objects.filter(endpoint=spot.endpoint, name__in=names))


def _parts(spot: Spot, device: DeviceFit, leaving: Sequence[LoadedModel]) -> tuple[Part, ...]:
    terms, sizes = device.room.terms, _taken(spot, device.room, leaving)
    if terms:
        sizes += [
            ("weights", "weights", terms.weights_bytes),
            ("kv", "KV cache", terms.kv_bytes + terms.recurrent_bytes),
            ("buffers", "buffers", terms.compute_bytes + terms.overhead_bytes),
        ]
    parts: list[Part] = []
    offset_bytes = 0
    for kind, name, size_bytes in sizes:
        if size_bytes > 0:
            parts.append(Part(kind, name, offset_bytes, size_bytes))
            offset_bytes += size_bytes
    return tuple(parts)


def _taken(spot: Spot, room: Room, leaving: Sequence[LoadedModel]) -> list[tuple[str, str, int]]:
    """What is on the GPU besides: the driver and other programs, then every model that stays."""
    used_bytes = room.total_bytes - room.free_bytes + room.held_bytes - room.freed_bytes
    rows = LoadedModel.objects.filter(endpoint__host=spot.gpu.host_id).exclude(pk__in=[row.pk for row in leaving])
    models = [("taken", row.name, row.gpu_bytes.get(room.uuid, 0)) for row in rows]
    rest_bytes = used_bytes - sum(size for _, _, size in models)
    return [("rest", "the driver and other programs", rest_bytes), *models]
