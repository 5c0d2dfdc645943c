"""Hosts, their GPUs, the endpoints on them, and the models observed and intended there."""

from __future__ import annotations

from django.db import models

from controlpanel.encrypted import EncryptedField
from models_app.backends.protocol import BackendKind, ModelState, ServerState
from models_app.probes.types import GpuState, PoolKind


class Host(models.Model):
    """A machine. ``is_local`` marks the one that the panel itself runs on.

    ``dismissed_ports`` are those where an admin removed an endpoint: discovery does not add it again.
    ``dismissed_names`` are the same for endpoints that an agent announces, with their kinds.
    """

    name = models.CharField(max_length=80, unique=True)
    is_local = models.BooleanField(default=False)
    tags = models.JSONField(default=list, blank=True)
    driver_version = models.CharField(max_length=40, blank=True)
    gpu_problem = models.TextField(blank=True)
    dismissed_ports = models.JSONField(default=list, blank=True)
    dismissed_names = models.JSONField(default=dict, blank=True)
    last_sample_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Gpu(models.Model):
    """A GPU, known by its UUID; ``index`` is for the screen. ``present`` is false once a sample no longer lists it."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="gpus")
    uuid = models.CharField(max_length=96, unique=True)
    index = models.IntegerField()
    name = models.CharField(max_length=120)
    pool = models.CharField(max_length=10, choices=[(k.value, k.value) for k in PoolKind], default=PoolKind.VRAM.value)
    total_bytes = models.BigIntegerField(default=0)
    driver_reserved_bytes = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in GpuState], default=GpuState.OK.value)
    state_reason = models.TextField(blank=True)
    present = models.BooleanField(default=True)

    class Meta:
        ordering = ["host__name", "index", "id"]

    def __str__(self) -> str:
        return f"{self.host.name} · GPU {self.index}"


class Endpoint(models.Model):
    """A running Ollama or llama-server, by its address.

    ``capabilities`` and ``load_options`` are what it said it can do when last identified. ``state`` is the outcome of the
    latest look: ``online``, or why not, with a stable code, a sentence and what to do.
    """

    class State(models.TextChoices):
        UNKNOWN = "unknown", "Not looked at yet"
        ONLINE = "online", "Online"
        UNREACHABLE = "unreachable", "Unreachable"
        UNAUTHORIZED = "unauthorized", "Refuses the key"
        FAULTY = "faulty", "Answers wrongly"

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="endpoints")
    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=20, choices=[(k.value, k.value) for k in BackendKind])
    mode = models.CharField(max_length=10, blank=True)
    url = models.CharField(max_length=255, unique=True)
    api_key = EncryptedField(blank=True)
    version = models.CharField(max_length=60, blank=True)
    capabilities = models.JSONField(default=list)
    load_options = models.JSONField(default=list)
    warnings = models.JSONField(default=list)
    state = models.CharField(max_length=16, choices=State.choices, default=State.UNKNOWN)
    state_code = models.CharField(max_length=40, blank=True)
    state_message = models.TextField(blank=True)
    state_hint = models.TextField(blank=True)
    last_seen_at = models.DateTimeField(null=True)
    discovered = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["host__name", "name"]

    def __str__(self) -> str:
        return self.name


class ManagedServer(models.Model):
    """How Berth starts the server of an endpoint, and what is known of its process.

    Intended: ``spec``, a ``ServerSpec`` as JSON with which it is started next. Observed: everything after it, as
    ``backends.protocol.ServerProcess`` says. ``key`` names the server on its host.
    """

    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, related_name="managed")
    key = models.CharField(max_length=40, unique=True)
    spec = models.JSONField()
    state = models.CharField(
        max_length=10, choices=[(s.value, s.value) for s in ServerState], default=ServerState.STOPPED.value
    )
    process_id = models.IntegerField(null=True)
    port = models.IntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    restarts = models.IntegerField(default=0)
    problem = models.TextField(blank=True)
    settings_digest = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"server {self.key}"


class LoadedModels(models.QuerySet["LoadedModel"]):
    """Rows of ``LoadedModel``."""

    def current(self) -> LoadedModels:
        """Those of endpoints that answer: the others were in memory when last seen, which is all that is known of them."""
        return self.filter(endpoint__state=Endpoint.State.ONLINE)


class LoadedModel(models.Model):
    """Observed: a model that an endpoint reports in memory. The row goes when the endpoint stops listing it.

    ``gpu_bytes`` maps a GPU's UUID to the bytes attributed to this model there; ``attributed_by`` says how they are known:
    ``process`` (NVML's per-process figures), ``gpu`` (the rise seen while Berth loaded it), ``endpoint`` (its own claim).
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="loaded_models")
    name = models.CharField(max_length=255)
    digest = models.CharField(max_length=80, blank=True)
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in ModelState])
    size_bytes = models.BigIntegerField(null=True)
    vram_bytes = models.BigIntegerField(null=True)
    context_length = models.IntegerField(null=True)
    parallel = models.IntegerField(null=True)
    expires_at = models.DateTimeField(null=True)
    kept_forever = models.BooleanField(default=False)
    process_id = models.IntegerField(null=True)
    gpu_bytes = models.JSONField(default=dict)
    attributed_by = models.CharField(max_length=10, blank=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    objects = LoadedModels.as_manager()

    class Meta:
        ordering = ["endpoint__name", "name"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "name"], name="loaded_model_is_endpoint_and_name")]

    def __str__(self) -> str:
        return f"{self.name} on {self.endpoint}"


class Residency(models.Model):
    """Intended: what Berth last loaded on an endpoint, with which options, and for whom.

    A loaded model without a residency was loaded by another client: its options are not Berth's to change. A residency
    without a loaded model has been unloaded or evicted behind Berth's back; ``lost_at`` says when that was noticed.
    """

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="residencies")
    name = models.CharField(max_length=255)
    options = models.JSONField(default=dict)
    pinned = models.BooleanField(default=False)
    requested_by = models.CharField(max_length=150)
    operation_id = models.BigIntegerField(null=True)
    since = models.DateTimeField()
    lost_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "residencies"
        constraints = [models.UniqueConstraint(fields=["endpoint", "name"], name="residency_is_endpoint_and_name")]

    def __str__(self) -> str:
        return f"{self.name} on {self.endpoint}"
