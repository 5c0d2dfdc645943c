"""The steps of an apply: a graph of loads and unloads over the fleet, each of them an operation of its own once begun."""

from __future__ import annotations

from django.db import models

from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation


class ApplyStep(models.Model):
    """One load or unload of an apply.

    ``after`` are the positions of the steps that must be done before it begins; all of them are smaller than its own.
    ``gpus`` are the UUIDs of the GPUs that it changes, empty where any of the endpoint's host may be. ``options`` are those
    of the load, or after an unload those that the model was loaded with, so that it can come back.

    ``part`` is the operation that carries it out, ``None`` before it has begun. A running step without a part is about to
    begin. ``detail`` is the reason of a failure, or why nothing had to be done. The figures are the part's.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Not needed"

    SETTLED = (State.DONE, State.SKIPPED)

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="apply_steps")
    position = models.IntegerField()
    kind = models.CharField(max_length=8, choices=[(Operation.Kind.LOAD, "Load"), (Operation.Kind.UNLOAD, "Unload")])
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=255)
    options = models.JSONField(default=dict)
    gpus = models.JSONField(default=list)
    after = models.JSONField(default=list)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    part = models.ForeignKey(Operation, null=True, on_delete=models.SET_NULL, related_name="part_of")
    detail = models.TextField(blank=True)
    verified_by = models.CharField(max_length=10, blank=True)
    moved_bytes = models.BigIntegerField(null=True)
    seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["operation_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["operation", "position"], name="apply_step_position_is_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.model_name} on {self.endpoint.name}"
