"""The catalog: models, their variants (one quantisation each) and where a variant is installed."""

from __future__ import annotations

from django.db import models


class CatalogModel(models.Model):
    """A model family as people speak of it: ``llama3.1``, ``qwen2.5-coder``."""

    name = models.CharField(max_length=200, unique=True)
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Variant(models.Model):
    """One set of weights: what is loaded. The numbers come from the endpoint or the file's header; null where unknown.

    ``digest`` tells two files of one name apart; it is empty where the endpoint gives none.
    """

    model = models.ForeignKey(CatalogModel, on_delete=models.CASCADE, related_name="variants")
    name = models.CharField(max_length=255)
    digest = models.CharField(max_length=80, blank=True)
    quantization = models.CharField(max_length=20, blank=True)
    architecture = models.CharField(max_length=40, blank=True)
    file_size_bytes = models.BigIntegerField(default=0)
    parameter_count = models.BigIntegerField(null=True)
    layer_count = models.IntegerField(null=True)
    head_count = models.IntegerField(null=True)
    kv_head_count = models.IntegerField(null=True)
    key_length = models.IntegerField(null=True)
    value_length = models.IntegerField(null=True)
    embedding_length = models.IntegerField(null=True)
    training_context_length = models.IntegerField(null=True)
    is_embedding = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint(fields=["name", "digest"], name="variant_is_name_and_digest")]

    def __str__(self) -> str:
        return self.name


class VariantHeader(models.Model):
    """A variant's GGUF header, reduced to what an estimate needs; ``content`` is written and read by ``catalog.headers``.

    ``fingerprint`` tells which file it was read from: the digest, or a file's size and time of change.
    """

    class Source(models.TextChoices):
        ENDPOINT = "endpoint", "Told by the endpoint"
        FILE = "file", "Read from the file"

    variant = models.OneToOneField(Variant, on_delete=models.CASCADE, related_name="header")
    fingerprint = models.CharField(max_length=80)
    source = models.CharField(max_length=10, choices=Source.choices)
    content = models.BinaryField()
    learnt_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"header of {self.variant}"


class Installation(models.Model):
    """A variant that an endpoint can load, under the endpoint's own name for it. Gone from the endpoint: row deleted.

    ``launch`` is how the endpoint says that it starts the model, as far as that moves memory.
    """

    variant = models.ForeignKey(Variant, on_delete=models.CASCADE, related_name="installations")
    endpoint = models.ForeignKey("models_app.Endpoint", on_delete=models.CASCADE, related_name="installations")
    name = models.CharField(max_length=255)
    size_bytes = models.BigIntegerField(default=0)
    modified_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField()
    last_failure = models.TextField(blank=True)
    launch = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "name"], name="installation_is_endpoint_and_name")]

    def __str__(self) -> str:
        return f"{self.name} on {self.endpoint}"
