"""What was done to hold a plan against drift, and where Berth has stopped because somebody else would not."""

from __future__ import annotations

from django.db import models

from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation
from models_app.plans.models import Plan


class Correction(models.Model):
    """One operation that put right what had drifted from an enforced plan; ``reason`` is the difference in words."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="corrections")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=255)
    reason = models.TextField()
    operation = models.ForeignKey(Operation, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["plan", "model_name", "at"], name="correction_lately")]

    def __str__(self) -> str:
        return self.reason


class EnforcementStop(models.Model):
    """A model that Berth no longer corrects, because it drifted again and again; gone once an admin lets it go on."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="stops")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=255)
    reason = models.TextField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "endpoint", "model_name"], name="one_stop_per_plan_and_model")
        ]

    def __str__(self) -> str:
        return self.reason
