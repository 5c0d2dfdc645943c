"""The queue of messages, in rows: what is to be sent, what is due, and how the last attempt ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from models_app.alerts.delivery.messages import payload_of, trial_payload
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.models import Alert, Mute
from models_app.alerts.rules.findings import Severity
from models_app.live import Topic, publish

BACK_OFF = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800, 7200))
"""Pauses between the attempts: after the sixth, a message has failed."""
LEASE = timedelta(seconds=60)
"""An attempt that has told nothing for so long is taken for lost."""
MOST_PENDING = 500
"""A receiver: what is more is not queued, so that one that is away for long is not flooded when it comes back."""
KEPT_FOR = timedelta(days=14)
_RANK = {Severity.NOTICE.value: 0, Severity.WARNING.value: 1, Severity.CRITICAL.value: 2}
State, Event = Delivery.State, Delivery.Event


def announce(alert: Alert, now: datetime) -> None:
    """Queue the news of an alert for everybody who wants it. To be called in the transaction that makes it news.

    A muted alert is no news; that it is over is told to those who were told of it.
    """
    if alert.state == Alert.State.OPEN:
        if not is_muted(alert, now):
            _queue(Event.RAISED, alert, _interested(alert), now)
    else:
        told = Receiver.objects.filter(is_on=True, deliveries__alert=alert, deliveries__event=Event.RAISED).distinct()
        _queue(Event.CLEARED, alert, list(told), now)


def is_muted(alert: Alert, now: datetime) -> bool:
    """Whether nobody wants to hear of it now."""
    return Mute.objects.filter(rule=alert.rule, subject=alert.subject, until__gt=now).exists()


def queue_test(receiver: Receiver, now: datetime) -> Delivery:
    """Queue a message by which a receiver can be tried."""
    return Delivery.objects.create(receiver=receiver, event=Event.TEST, payload=trial_payload(now), due_at=now)


def take_due(now: datetime, most: int) -> list[Delivery]:
    """Take what is due for an attempt, each with its receiver; nobody else gets them while the lease lasts."""
    due = Delivery.objects.filter(state=State.PENDING, due_at__lte=now).select_related("receiver").order_by("due_at")
    return [delivery for delivery in due[:most] if _take(delivery, now)]


def settle(delivery: Delivery, verdict: str, now: datetime, *, ok: bool, retryable: bool = True) -> None:
    """Write down how an attempt ended; one that failed is repeated later, unless that cannot help."""
    columns = {"verdict": verdict[:255], "attempted_at": now}
    attempts = delivery.attempt
    if ok:
        columns |= {"state": State.DELIVERED}
    elif retryable and attempts <= len(BACK_OFF):
        columns |= {"due_at": now + BACK_OFF[attempts - 1]}
    else:
        columns |= {"state": State.FAILED}
    with transaction.atomic():
        mine = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING, attempt=attempts)
        if mine.update(**columns):
            publish(Topic.ALERT)


def forget_old(now: datetime) -> None:
    """Delete the messages of long ago."""
    Delivery.objects.filter(~Q(state=State.PENDING), created_at__lt=now - KEPT_FOR).delete()


def _interested(alert: Alert) -> list[Receiver]:
    return [each for each in Receiver.objects.filter(is_on=True) if _RANK[each.least_severity] <= _RANK[alert.severity]]


def _queue(event: Delivery.Event, alert: Alert, receivers: list[Receiver], now: datetime) -> None:
    payload = payload_of(event, alert, now)
    Delivery.objects.bulk_create(
        Delivery(receiver=receiver, alert=alert, event=event, payload=payload, due_at=now)
        for receiver in receivers
        if receiver.deliveries.filter(state=State.PENDING).count() < MOST_PENDING
    )


def _take(delivery: Delivery, now: datetime) -> bool:
    as_read = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING, attempt=delivery.attempt, due_at__lte=now)
    delivery.attempt += 1
    return bool(as_read.update(attempt=delivery.attempt, due_at=now + LEASE))
