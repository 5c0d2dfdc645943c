"""What was measured of models: what each verified load took beside what was estimated, and how fast a model wrote."""

from __future__ import annotations

from django.db import models

from models_app.catalog.models import Variant
from models_app.estimator.learned import Measured
from models_app.inventory.models import Endpoint


class LoadMeasurement(models.Model):
    """One verified load: the terms of the estimate from header or size, what was predicted, and what was measured.

    ``settings_key`` is the same for loads that differ only in context and batch. ``estimated_bytes``, ``kv_bytes`` and
    ``compute_bytes`` are of all GPUs together; ``devices`` has every term of every device. ``predicted_bytes`` ±
    ``predicted_error_bytes`` is what the operation was admitted with, and ``grade`` its evidence. ``measured`` is by GPU's
    UUID. An outlier is kept to be seen, and nothing is learnt from it.
    """

    variant = models.ForeignKey(Variant, on_delete=models.CASCADE, related_name="measurements")
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.SET_NULL, related_name="+")
    backend_kind = models.CharField(max_length=20)
    backend_mode = models.CharField(max_length=10)
    backend_version = models.CharField(max_length=60, blank=True)
    build_profile = models.CharField(max_length=40)
    gpu_names = models.CharField(max_length=255)
    settings = models.JSONField(default=dict)
    settings_key = models.CharField(max_length=32)
    context_length = models.IntegerField()
    devices = models.JSONField(default=list)
    estimated_bytes = models.BigIntegerField()
    kv_bytes = models.BigIntegerField()
    compute_bytes = models.BigIntegerField()
    grade = models.CharField(max_length=10)
    predicted_bytes = models.BigIntegerField(null=True)
    predicted_error_bytes = models.BigIntegerField(null=True)
    measured = models.JSONField(default=dict)
    measured_bytes = models.BigIntegerField()
    verified_by = models.CharField(max_length=10)
    is_outlier = models.BooleanField(default=False)
    outlier_reason = models.CharField(max_length=255, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["variant", "settings_key"], name="measurement_variant_settings")]

    def __str__(self) -> str:
        return f"{self.variant}: {self.measured_bytes} bytes measured, {self.estimated_bytes} estimated"

    def as_measured(self) -> Measured:
        """The figures that the next estimate learns from."""
        return Measured(
            context_length=self.context_length,
            measured_bytes=self.measured_bytes,
            estimated_bytes=self.estimated_bytes,
            kv_bytes=self.kv_bytes,
            compute_bytes=self.compute_bytes,
        )


class SpeedMeasurement(models.Model):
    """How fast a loaded model wrote, once, when it was asked to for no other reason.

    ``gpu_share`` is the part of the model on GPUs, 0 to 1; ``settings`` are those it was loaded with, as far as they are
    known. The rate is that of writing: reading the prompt does not count.
    """

    variant = models.ForeignKey(Variant, on_delete=models.CASCADE, related_name="speeds")
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.SET_NULL, related_name="+")
    operation_id = models.BigIntegerField(null=True)
    backend_kind = models.CharField(max_length=20)
    backend_version = models.CharField(max_length=60, blank=True)
    gpu_names = models.CharField(max_length=255, blank=True)
    gpu_share = models.FloatField()
    context_length = models.IntegerField(null=True)
    settings = models.JSONField(default=dict)
    token_count = models.IntegerField()
    tokens_per_second = models.FloatField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["variant", "gpu_names"], name="speed_variant_gpus")]

    def __str__(self) -> str:
        return f"{self.variant}: {self.tokens_per_second:.1f} tokens/s"
