"""What ``POST /fit`` takes and answers."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import ConfigDict

from models_app.api.operation_schemas import EndpointReference, Options

ModelReference = Annotated[int | str, Field(description="A variant's id or name.", union_mode="left_to_right")]


class FitIn(Schema):
    """A load that is only thought of. Without ``endpoint`` every endpoint that has the model or could is answered for."""

    model_config = ConfigDict(extra="forbid")

    model: ModelReference
    endpoint: EndpointReference | None = None
    options: Options = {}
    unload: list[int] = Field(default=[], description="Ids of loaded models that will be gone.", max_length=100)
    requests_per_hour: float | None = Field(
        default=None, ge=0, le=1e6, allow_inf_nan=False, description="About how often the model is asked, for `keep_alive`."
    )


class TermsOut(Schema):
    """What makes up the estimate on one device."""

    weights_bytes: int
    kv_bytes: int
    recurrent_bytes: int
    compute_bytes: int
    overhead_bytes: int
    total_bytes: int


class EvictionOut(Schema):
    """A loaded model, and what its unloading would free here."""

    loaded_model: int
    name: str
    gpu_bytes: int


class DeviceFitOut(Schema):
    """One device on its own; ``gpu`` is its UUID, empty for host RAM. ``available_bytes`` is free now, less what is
    promised to running operations and the headroom, plus what ``unload`` gives back."""

    gpu: str
    name: str
    fit: str
    layers: int | None
    layer_count: int | None
    needed_bytes: int | None
    error_bytes: int
    terms: TermsOut | None
    total_bytes: int
    free_bytes: int
    held_bytes: int
    headroom_bytes: int
    available_bytes: int
    evict: list[EvictionOut]
    free_after_bytes: int | None


class AdviceOut(Schema):
    """One change and what comes of it; ``settings`` are those that differ, in llama.cpp's terms.

    ``speed_factor`` is relative to the model wholly on the GPU, and ``speed_evidence`` names where it comes from;
    ``tokens_per_second`` is null where no speed of the model was measured on these GPUs.
    """

    remedy: str
    description: str
    saved_bytes: int
    vram_bytes: int
    fits: bool
    quantization: str
    settings: dict[str, Any]
    speed_factor: float
    speed_evidence: str
    tokens_per_second: float | None


class SiblingOut(Schema):
    """A smaller variant of the model that the endpoint has installed, and could load instead."""

    model: str
    model_id: int
    quantization: str
    needed_bytes: int
    error_bytes: int
    fits: bool
    speed_factor: float
    speed_evidence: str
    tokens_per_second: float | None


class SpeedOut(Schema):
    """A speed of writing from measurements: ``evidence`` says whether it was measured so, or scaled from another load."""

    tokens_per_second: float
    factor: float
    evidence: str


class KeepAliveOut(Schema):
    """How long an idle model should stay, 0 for not at all. ``requests_per_hour`` was told (``is_told``), or follows from
    the ``loads`` that Berth did in the last week. ``reload_seconds`` is what it costs to have the model back."""

    seconds: int
    reason: str
    requests_per_hour: float
    is_told: bool
    loads: int
    reload_seconds: float | None
    reload_is_measured: bool
    reloads_per_hour: float


class PlacedOut(Schema):
    """A device that the server would use, and what it would take of it."""

    gpu: str
    name: str
    take_bytes: int
    error_bytes: int
    terms: TermsOut | None


class EndpointFitOut(Schema):
    """One endpoint. ``verdict`` and the figures are for the load as its server would place it."""

    endpoint: str
    endpoint_id: int
    host: str
    installed_as: str | None
    verdict: str
    sentence: str
    grade: str
    build_profile: str
    context_length: int
    weights_bytes: int | None
    kv_bytes: int | None
    compute_bytes: int
    overhead_bytes: int
    ram_bytes: int
    needed_bytes: int | None
    error_bytes: int
    shortfall_bytes: int
    placed_on: list[PlacedOut]
    evict: list[EvictionOut]
    devices: list[DeviceFitOut]
    advice: list[AdviceOut]
    instead: list[SiblingOut]
    speed: SpeedOut | None
    keep_alive: KeepAliveOut | None
    notes: list[str]


class FitOut(Schema):
    """The answer for each endpoint."""

    model: str
    model_id: int
    quantization: str
    options: dict[str, Any]
    endpoints: list[EndpointFitOut]
