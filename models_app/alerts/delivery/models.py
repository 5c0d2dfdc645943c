"""Receivers of alerts, and what was sent to each, as rows."""

from __future__ import annotations

from django.db import models

from controlpanel.encrypted import EncryptedField
from models_app.alerts.models import Alert
from models_app.alerts.rules.findings import Severity


class Receiver(models.Model):
    """Somebody or something that wants to hear of alerts. ``address`` is a URL or an e-mail address.

    ``secret`` signs what is posted; it is written and used, never shown. Alerts below ``least_severity`` are not sent.
    """

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        EMAIL = "email", "E-mail"

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    address = models.CharField(max_length=255)
    secret = EncryptedField(blank=True)
    least_severity = models.CharField(
        max_length=10, choices=[(each.value, each.value.capitalize()) for each in Severity], default=Severity.WARNING.value
    )
    is_on = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One message to one receiver: ``pending`` → ``delivered`` or ``failed``.

    ``verdict`` is the outcome of the last attempt. ``due_at`` is when it may be attempted next; while an attempt runs, when
    another worker may take it for lost.
    """

    class Event(models.TextChoices):
        RAISED = "raised", "Raised"
        CLEARED = "cleared", "Cleared"
        TEST = "test", "Test"

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    receiver = models.ForeignKey(Receiver, on_delete=models.CASCADE, related_name="deliveries")
    alert = models.ForeignKey(Alert, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    event = models.CharField(max_length=8, choices=Event.choices)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempt = models.IntegerField(default=0)
    due_at = models.DateTimeField()
    attempted_at = models.DateTimeField(null=True)
    verdict = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["state", "due_at"], name="delivery_due")]

    def __str__(self) -> str:
        return f"{self.event} to {self.receiver}"
