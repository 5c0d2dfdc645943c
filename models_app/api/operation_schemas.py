"""What a request for an operation says, and how an operation is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import BaseModel, ConfigDict

from models_app.api.apply_steps import ApplyStepOut
from models_app.operations.models import Operation
from models_app.operations.options import OPTION_NAMES

OPTION_SCHEMA = {
    "context_length": {"type": "integer", "minimum": 1, "description": "Tokens per slot."},
    "parallel": {"type": "integer", "minimum": 1, "description": "Slots."},
    "gpu_layers": {"type": "integer", "minimum": 0, "description": "Layers on the GPU."},
    "gpu": {"type": "string", "description": "A GPU's UUID."},
    "batch": {"type": "integer", "minimum": 1},
    "cache_type_k": {"type": "string", "description": "f16, q8_0, …"},
    "cache_type_v": {"type": "string", "description": "f16, q8_0, …"},
    "flash_attention": {"type": "boolean"},
    "kv_offload": {"type": "boolean", "description": "Whether the KV cache is on the GPU, not in host RAM."},
    "keep_alive": {"description": "Seconds, a duration such as `10m`, or `forever`; negative means for ever."},
    "pinned": {"type": "boolean", "description": "Never chosen for eviction by Berth."},
}
Options = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"properties": {name: OPTION_SCHEMA[name] for name in OPTION_NAMES}}),
]
EndpointReference = Annotated[int | str, Field(description="The endpoint's id or its name.", union_mode="left_to_right")]


class OperationIn(Schema):
    """A request. Where the panel answers 409, ``load_anyway``, ``reload`` or ``confirmed`` accept what it names."""

    model_config = ConfigDict(extra="forbid")

    kind: Operation.Kind
    endpoint: EndpointReference
    model: str
    unload: list[int] = Field(default=[], description="For a swap: ids of loaded models to take out first.", max_length=100)
    options: Options = {}
    load_anyway: bool = False
    reload: bool = False
    confirmed: bool = False


class StepOut(BaseModel):
    """One outside effect of an operation."""

    position: int
    action: str
    model: str
    state: str
    started_at: datetime | None
    finished_at: datetime | None
    before_bytes: int | None
    after_bytes: int | None
    verified_by: str
    detail: str


class LogLineOut(BaseModel):
    """One line of an operation's story."""

    at: datetime
    text: str


class OperationOut(BaseModel):
    """An operation. ``before_bytes`` and ``after_bytes`` are used VRAM; ``verified_by`` says what proved its success.

    An apply has no endpoint; its title is in ``model``. It may follow another, which it resumes or rolls back.
    """

    id: int
    kind: str
    state: str
    phase: str
    endpoint: str | None
    endpoint_id: int | None
    model: str
    options: dict[str, Any]
    follows_id: int | None
    unload: list[Any]
    requested_by: str
    via: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempt: int
    progress_bytes: int | None
    progress_total_bytes: int | None
    estimate: dict[str, Any]
    before_bytes: int | None
    after_bytes: int | None
    verified_by: str
    result: dict[str, Any]
    error_code: str
    error_message: str


class OperationDetail(OperationOut):
    """An operation with its steps and its log; an apply has ``apply_steps`` instead of steps."""

    steps: list[StepOut]
    apply_steps: list[ApplyStepOut]
    log: list[LogLineOut]
