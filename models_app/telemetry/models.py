"""What the probes reported: the newest sample of each host, and the memory of each GPU in packed chunks."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from models_app.inventory.models import Gpu, Host


class LatestSample(models.Model):
    """The newest sample of a host, whole, and the last minutes of each GPU's used bytes for its sparkline.

    ``payload`` is the sample as ``telemetry.samples`` packs it; ``recent`` maps a GPU's UUID to its latest used bytes,
    oldest first, one a second.
    """

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="latest_sample")
    boot_id = models.CharField(max_length=64)
    sequence = models.BigIntegerField()
    taken_at = models.DateTimeField()
    payload = models.BinaryField()
    recent = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.host} at {self.taken_at:%H:%M:%S}"


class SecondsChunk(models.Model):
    """The samples of one GPU in one minute, packed by ``telemetry.history``. ``pending`` until they are rolled up."""

    gpu = models.ForeignKey(Gpu, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField()
    payload = models.BinaryField()
    pending = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["gpu", "starts_at"], name="seconds_are_of_gpu_and_minute")]
        indexes = [
            models.Index(fields=["starts_at"], name="seconds_by_age"),
            models.Index(fields=["starts_at", "gpu"], condition=Q(pending=True), name="seconds_to_roll_up"),
        ]

    def __str__(self) -> str:
        return f"{self.gpu} at {self.starts_at:%H:%M}"


class StepsChunk(models.Model):
    """Roll-ups of one GPU: the steps of ``resolution_seconds`` in an hour, or those of an hour each in ten days.

    ``sealed`` once the samples that they were made from are deleted.
    """

    gpu = models.ForeignKey(Gpu, on_delete=models.CASCADE, related_name="+")
    resolution_seconds = models.IntegerField()
    starts_at = models.DateTimeField()
    payload = models.BinaryField()
    sealed = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["gpu", "resolution_seconds", "starts_at"], name="steps_are_of_gpu_resolution_and_start"
            )
        ]
        indexes = [models.Index(fields=["resolution_seconds", "starts_at"], name="steps_by_age")]

    def __str__(self) -> str:
        return f"{self.gpu} from {self.starts_at:%Y-%m-%d %H:%M} by {self.resolution_seconds} s"
