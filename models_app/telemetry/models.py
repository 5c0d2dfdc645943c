"""What the probes reported last. A longer memory is a matter of its own tables."""

from __future__ import annotations

from django.db import models

from models_app.inventory.models import Host


class LatestSample(models.Model):
    """The newest sample of a host, whole, and the last minutes of each GPU's used bytes for its sparkline.

    ``payload`` is the sample as ``telemetry.samples`` encodes it; ``recent`` maps a GPU's UUID to its latest used bytes,
    oldest first, one a second.
    """

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="latest_sample")
    boot_id = models.CharField(max_length=64)
    sequence = models.BigIntegerField()
    taken_at = models.DateTimeField()
    payload = models.JSONField()
    recent = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.host} at {self.taken_at:%H:%M:%S}"
