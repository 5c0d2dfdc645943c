"""``/alert-receivers``: who is told of alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict

from models_app.alerts.delivery import receivers
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.errors import AlertRefused
from models_app.alerts.rules.findings import Severity
from models_app.api.alerts import problem_of
from models_app.api.auth import acting
from models_app.api.paging import Listing, Page


class DeliveryOut(BaseModel):
    """A message to a receiver and how its last attempt ended."""

    id: int
    event: str
    alert_id: int | None
    state: str
    attempt: int
    verdict: str
    created_at: datetime
    attempted_at: datetime | None


class ReceiverOut(BaseModel):
    """A receiver. Of a webhook's ``address`` the path is left out, and a secret is never shown."""

    id: int
    name: str
    kind: str
    address: str
    least_severity: str
    is_on: bool
    last: DeliveryOut | None


class ReceiverIn(Schema):
    """A receiver; an empty ``secret`` lets Berth make one, which only the page of the panel shows."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Receiver.Kind
    address: str
    secret: str = ""
    least_severity: Severity = Severity.WARNING
    is_on: bool = True


router = Router(tags=["alerts"])
LISTING = Listing[Receiver](sorts={"id": "id", "name": "name"}, default_sort="name")


@router.get("", response=Page[ReceiverOut], summary="List receivers", openapi_extra=LISTING.describe())
def list_receivers(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, Receiver.objects.all(), _receiver)


@router.post("", response={201: ReceiverOut}, summary="Add a receiver")
def add_receiver(request: HttpRequest, body: ReceiverIn) -> Status[ReceiverOut]:
    try:
        return Status(201, _receiver(receivers.add_receiver(acting(request), receivers.Wanted(**body.dict()))))
    except AlertRefused as refused:
        raise problem_of(refused) from None


@router.put("/{int:receiver_id}", response=ReceiverOut, summary="Change a receiver; an empty secret keeps the stored one")
def change_receiver(request: HttpRequest, receiver_id: int, body: ReceiverIn) -> ReceiverOut:
    receiver = get_object_or_404(Receiver, pk=receiver_id)
    try:
        receivers.change_receiver(acting(request), receiver, receivers.Wanted(**body.dict()))
    except AlertRefused as refused:
        raise problem_of(refused) from None
    return _receiver(receiver)


@router.delete("/{int:receiver_id}", response={204: None}, summary="Remove a receiver")
def remove_receiver(request: HttpRequest, receiver_id: int) -> Status[None]:
    receivers.remove_receiver(acting(request), get_object_or_404(Receiver, pk=receiver_id))
    return Status(204, None)


@router.post("/{int:receiver_id}/test", response={202: DeliveryOut}, summary="Send a test message")
def test_receiver(request: HttpRequest, receiver_id: int) -> Status[DeliveryOut]:
    return Status(202, _delivery(receivers.try_receiver(acting(request), get_object_or_404(Receiver, pk=receiver_id))))


def _receiver(row: Receiver) -> ReceiverOut:
    last = row.deliveries.first()
    return ReceiverOut(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        address=receivers.shown_address(row),
        least_severity=row.least_severity,
        is_on=row.is_on,
        last=_delivery(last) if last else None,
    )


def _delivery(row: Delivery) -> DeliveryOut:
    return DeliveryOut.model_validate(row, from_attributes=True)
