"""``/load-times``: how long verified loads took, cold and warm, by model and host."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel

from models_app.operations.load_times import load_times


class LoadTimeOut(BaseModel):
    """Medians of the latest loads, in seconds. Warm: the host had had the model in memory within the hour before."""

    host: str
    host_id: int
    model: str
    variant_id: int | None
    cold_seconds: float | None
    cold_loads: int
    warm_seconds: float | None
    warm_loads: int
    last_at: datetime


router = Router(tags=["models"])


@router.get("", response=list[LoadTimeOut], summary="How long loads took")
def list_load_times(request: HttpRequest) -> list[LoadTimeOut]:
    return [
        LoadTimeOut(
            host=each.host,
            host_id=each.host_id,
            model=each.model,
            variant_id=each.variant_id,
            cold_seconds=each.cold_seconds,
            cold_loads=len(each.cold),
            warm_seconds=each.warm_seconds,
            warm_loads=len(each.warm),
            last_at=each.last_at,
        )
        for each in load_times()
    ]
