"""The steps of an apply, as an operation's answer shows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from models_app.api.endpoints import public_options
from models_app.operations.apply_steps import ApplyStep


class ApplyStepOut(BaseModel):
    """One load or unload of an apply. ``after`` are the positions of the steps that it waits for, ``operation`` does it."""

    position: int
    kind: str
    endpoint: str
    model: str
    options: dict[str, Any]
    gpus: list[str]
    after: list[int]
    state: str
    operation: int | None
    detail: str
    verified_by: str
    moved_bytes: int | None
    seconds: float | None


def apply_step_out(row: ApplyStep) -> ApplyStepOut:
    """A step for the answer."""
    return ApplyStepOut(
        position=row.position,
        kind=row.kind,
        endpoint=row.endpoint.name,
        model=row.model_name,
        options=public_options(row.options),
        gpus=row.gpus,
        after=row.after,
        state=row.state,
        operation=row.part_id,
        detail=row.detail,
        verified_by=row.verified_by,
        moved_bytes=row.moved_bytes,
        seconds=row.seconds,
    )
