"""When a demand was asked for, and by whom: what "least recently used" and predictions are reckoned from."""

from __future__ import annotations

from django.db import models

from models_app.operations.models import Operation
from models_app.plans.models import Demand


class Wake(models.Model):
    """One request to make a demand available; ``operation`` loads it, ``None`` where it was loaded already."""

    demand = models.ForeignKey(Demand, on_delete=models.CASCADE, related_name="wakes")
    operation = models.ForeignKey(Operation, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by = models.CharField(max_length=150)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["demand", "at"], name="wake_of_demand")]

    def __str__(self) -> str:
        return f"{self.demand} for {self.requested_by}"
