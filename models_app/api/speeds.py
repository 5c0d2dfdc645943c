"""``/speeds``: how fast loaded models wrote when they were asked to, one row a measurement."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel

from models_app.api.paging import Listing, Page
from models_app.operations.measurements import SpeedMeasurement


class MeasuredSpeedOut(BaseModel):
    """One measurement. ``gpu_share`` is the part of the model on GPUs, 0 to 1; ``settings`` are in llama.cpp's terms."""

    id: int
    model: str
    model_id: int
    quantization: str
    endpoint: str | None
    endpoint_id: int | None
    operation_id: int | None
    gpu_names: str
    gpu_share: float
    context_length: int | None
    settings: dict[str, Any]
    token_count: int
    tokens_per_second: float
    at: datetime


router = Router(tags=["models"])
LISTING = Listing[SpeedMeasurement](
    sorts={"id": "id", "at": "at", "tokens_per_second": "tokens_per_second", "model": "variant__name"},
    default_sort="-id",
    filters={
        "model": "variant__name",
        "model_id": "variant_id",
        "endpoint": "endpoint__name",
        "endpoint_id": "endpoint_id",
        "gpu_names": "gpu_names",
    },
    searches=("variant__name", "endpoint__name", "gpu_names"),
)


@router.get("", response=Page[MeasuredSpeedOut], summary="List measured speeds", openapi_extra=LISTING.describe())
def list_speeds(request: HttpRequest) -> dict[str, Any]:
    """Measured by an operation of the kind ``measure_speed``; the newest come first."""
    return LISTING.page(request, SpeedMeasurement.objects.select_related("variant", "endpoint"), _speed_out)


def _speed_out(row: SpeedMeasurement) -> MeasuredSpeedOut:
    same = set(MeasuredSpeedOut.model_fields) - {"model", "model_id", "quantization", "endpoint"}
    return MeasuredSpeedOut(
        model=row.variant.name,
        model_id=row.variant_id,
        quantization=row.variant.quantization,
        endpoint=row.endpoint.name if row.endpoint else None,
        **{name: getattr(row, name) for name in same},
    )
