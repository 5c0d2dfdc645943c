"""Empties the queue of messages: posts and mails, each bounded in time, with its verdict written down."""

from __future__ import annotations

import asyncio
import json
import logging
from smtplib import SMTPException

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from controlpanel.encrypted import Unreadable
from models_app.alerts.delivery.messages import body_text, subject_line
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.delivery.queue import settle, take_due
from models_app.backends.errors import AddressRefused, BackendError
from models_app.backends.webhook import post_signed
from models_app.inventory.connect import policy

log = logging.getLogger(__name__)

DELIVER_SECONDS = 2.0
AT_ONCE = 16
"""Messages under way. A receiver that hangs holds one place for seconds, and no other receiver up."""


class Deliverer:
    """Sends what is due."""

    def __init__(self) -> None:
        self._sending: set[asyncio.Task[None]] = set()

    async def tick(self) -> None:
        """Begin to send what is due, as far as there are places. Does not wait for the answers."""
        self._sending = {task for task in self._sending if not task.done()}
        places = AT_ONCE - len(self._sending)
        if places > 0:
            due = await sync_to_async(take_due)(timezone.now(), places)
            self._sending |= {asyncio.create_task(_attempt(delivery)) for delivery in due}

    async def settled(self) -> None:
        """Wait until everything that is under way has its verdict."""
        if self._sending:
            await asyncio.wait(self._sending)


async def _attempt(delivery: Delivery) -> None:
    try:
        verdict, ok, retryable = await _send(delivery)
        await sync_to_async(settle)(delivery, verdict, timezone.now(), ok=ok, retryable=retryable)
    except Exception:
        log.exception("message %s could not be sent", delivery.pk)


async def _send(delivery: Delivery) -> tuple[str, bool, bool]:
    """The verdict in a sentence, whether it arrived, and whether trying again may help."""
    if delivery.receiver.kind == Receiver.Kind.EMAIL:
        return await sync_to_async(_mail, thread_sensitive=False)(delivery)
    return await _post(delivery)


async def _post(delivery: Delivery) -> tuple[str, bool, bool]:
    receiver = delivery.receiver
    if isinstance(receiver.secret, Unreadable):
        return "Its secret cannot be read: the panel has another secret key now. Type the secret again.", False, False
    body = json.dumps(delivery.payload).encode()
    try:
        status = await post_signed(receiver.address, body, receiver.secret, str(delivery.pk), policy())
    except BackendError as error:
        return error.message, False, not isinstance(error, AddressRefused)
    if 200 <= status < 300:
        return f"Accepted with {status}.", True, False
    if 300 <= status < 400:
        return f"It answered {status}: redirects are not followed. Enter the address that it leads to.", False, True
    return f"It answered {status}.", False, True


def _mail(delivery: Delivery) -> tuple[str, bool, bool]:
    if not settings.EMAIL_HOST:
        return "No mail server is set: BERTH_EMAIL_HOST is empty.", False, False
    payload = delivery.payload
    message = EmailMessage(subject_line(payload), body_text(payload), to=[delivery.receiver.address])
    try:
        message.send()
    except (SMTPException, OSError) as error:
        return f"The mail server did not take it: {error}", False, True
    return "Taken by the mail server.", True, False
