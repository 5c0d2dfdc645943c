"""Who hears of alerts: added, changed, tried and removed by admins. A secret is written and used, never shown again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.delivery.queue import queue_test
from models_app.alerts.errors import AlertRefused
from models_app.alerts.rules.findings import Severity
from models_app.backends.errors import AddressRefused
from models_app.inventory.connect import policy
from models_app.live import Topic, publish

MOST_RECEIVERS = 50
LONGEST_ADDRESS = 255
LEAST_SECRET = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """A receiver as somebody describes it. An empty ``secret`` keeps the one that is stored, or makes one."""

    name: str
    kind: str
    address: str
    secret: str = ""
    least_severity: str = Severity.WARNING.value
    is_on: bool = True


def add_receiver(actor: Actor, wanted: Wanted) -> Receiver:
    """A new receiver; ``secret`` on it may be shown this once. Raises ``AlertRefused``."""
    if Receiver.objects.count() >= MOST_RECEIVERS:
        raise AlertRefused("too_many_receivers", f"There are {MOST_RECEIVERS} receivers already.")
    receiver = Receiver(secret=secrets.token_urlsafe(32) if wanted.kind == Receiver.Kind.WEBHOOK else "")
    _save(actor, receiver, wanted, "alert_receiver.add")
    return receiver


def change_receiver(actor: Actor, receiver: Receiver, wanted: Wanted) -> None:
    """Change a receiver. Raises ``AlertRefused``."""
    _save(actor, receiver, wanted, "alert_receiver.change")


@transaction.atomic
def remove_receiver(actor: Actor, receiver: Receiver) -> None:
    """Forget a receiver and what was sent to it."""
    audit.record(actor, "alert_receiver.remove", receiver)
    receiver.delete()
    publish(Topic.ALERT)


@transaction.atomic
def try_receiver(actor: Actor, receiver: Receiver) -> Delivery:
    """Queue a test message."""
    audit.record(actor, "alert_receiver.test", receiver)
    publish(Topic.ALERT)
    return queue_test(receiver, timezone.now())


def shown_address(receiver: Receiver) -> str:
    """The address for people: of a URL no path, for many services put a secret there."""
    if receiver.kind == Receiver.Kind.EMAIL:
        return receiver.address
    parts = urlsplit(receiver.address)
    return f"{parts.scheme}://{parts.netloc}{'/…' if parts.path.strip('/') else ''}"


def _save(actor: Actor, receiver: Receiver, wanted: Wanted, action: str) -> None:
    _fill(receiver, wanted)
    try:
        with transaction.atomic():
            receiver.save()
            detail = {"kind": receiver.kind, "address": shown_address(receiver), "least_severity": receiver.least_severity}
            audit.record(actor, action, receiver, is_on=receiver.is_on, **detail)
            publish(Topic.ALERT)
    except IntegrityError:
        raise AlertRefused("name_taken", "Another receiver has this name.", "name") from None


def _fill(receiver: Receiver, wanted: Wanted) -> None:
    receiver.name = _checked_name(wanted.name)
    receiver.kind = _one_of(wanted.kind, Receiver.Kind.values, "kind")
    receiver.address = _checked_address(receiver.kind, wanted.address or receiver.address)
    receiver.least_severity = _one_of(wanted.least_severity, list(Severity), "least_severity")
    receiver.is_on = wanted.is_on
    receiver.secret = _checked_secret(wanted.secret) or receiver.secret
    if receiver.kind == Receiver.Kind.WEBHOOK and not receiver.secret:
        message = "An e-mail receiver has no secret: type one that signs what is posted."
        raise AlertRefused("invalid_secret", message, "secret")


def _checked_name(name: str) -> str:
    name = " ".join(name.replace("\x00", "").split())
    if not 1 <= len(name) <= 80:
        raise AlertRefused("invalid_name", "A name has 1 to 80 characters.", "name")
    return name


def _one_of(value: str, known: list[str], field: str) -> str:
    if value not in known:
        raise AlertRefused("invalid_choice", f"It must be one of: {', '.join(known)}.", field)
    return value


def _checked_address(kind: str, address: str) -> str:
    address = address.strip()
    if len(address) > LONGEST_ADDRESS:
        raise AlertRefused("invalid_address", f"An address has at most {LONGEST_ADDRESS} characters.", "address")
    try:
        if kind == Receiver.Kind.WEBHOOK:
            return policy().check_url(address)
        validate_email(address)
    except AddressRefused as refused:
        raise AlertRefused(refused.code, refused.message, "address", refused.hint) from refused
    except ValidationError:
        raise AlertRefused("invalid_address", "This is no e-mail address such as ops@example.org.", "address") from None
    return address


def _checked_secret(secret: str) -> str:
    if secret and not (LEAST_SECRET <= len(secret) <= 255 and secret.isascii() and secret.isprintable()):
        raise AlertRefused("invalid_secret", f"A secret has {LEAST_SECRET} to 255 printable ASCII characters.", "secret")
    return secret
