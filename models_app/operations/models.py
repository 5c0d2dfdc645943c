"""Operations: what was asked for, how far it is, and how it ended. The row is the truth."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from models_app.inventory.models import Endpoint


class Operation(models.Model):
    """One request to change what is in memory or on disk of an endpoint, or an apply: a tree of such requests.

    ``options`` are ``LoadOptions.given()``. ``unload`` lists the names that a swap takes out first. ``lease_token`` belongs
    to the runner at work; a runner without the current token changes nothing. ``progress_total_bytes`` is the expected,
    ``progress_bytes`` the measured rise (or the downloaded bytes of a pull). ``verified_by`` is ``process``, ``gpu`` or
    ``endpoint``. ``before_bytes`` and ``after_bytes`` are used VRAM on the GPUs of the host.

    ``due_at`` is when a queued one may be taken, ``enqueued_at`` when a worker was last told of it, ``attempt`` how many
    leases were taken. A running operation with an ``error_code`` is being undone.

    An apply has no ``endpoint``, no lease and a title in ``model_name``; its steps are ``ApplyStep`` rows. ``follows`` is
    the ended apply that it resumes or, where ``options`` say so (``rolls_back``), undoes.
    """

    class Kind(models.TextChoices):
        LOAD = "load", "Load"
        UNLOAD = "unload", "Unload"
        SWAP = "swap", "Swap"
        PULL = "pull", "Pull"
        DELETE = "delete", "Delete"
        SET_KEEP_ALIVE = "set_keep_alive", "Change keep-alive"
        MEASURE_SPEED = "measure_speed", "Measure speed"
        RESTART = "restart", "Restart"
        APPLY = "apply", "Apply"

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    ACTIVE = (State.QUEUED, State.RUNNING)
    MOVES_MEMORY = (Kind.LOAD, Kind.UNLOAD, Kind.SWAP, Kind.RESTART)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    phase = models.CharField(max_length=60, blank=True)
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.CASCADE, related_name="operations")
    model_name = models.CharField(max_length=255)
    options = models.JSONField(default=dict)
    unload = models.JSONField(default=list)
    load_anyway = models.BooleanField(default=False)
    reload = models.BooleanField(default=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by = models.CharField(max_length=150)
    via = models.CharField(max_length=12)
    idempotency_key = models.CharField(max_length=255, blank=True)
    request_digest = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    lease_token = models.CharField(max_length=36, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    attempt = models.IntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True)
    waiting_for = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="waiters")
    follows = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="followers")
    progress_bytes = models.BigIntegerField(null=True)
    progress_total_bytes = models.BigIntegerField(null=True)
    estimate = models.JSONField(default=dict)
    before_bytes = models.BigIntegerField(null=True)
    after_bytes = models.BigIntegerField(null=True)
    verified_by = models.CharField(max_length=10, blank=True)
    result = models.JSONField(default=dict)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="idempotency_key_is_unique_per_user",
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=Q(kind="apply", state__in=["queued", "running"]), name="one_apply_at_a_time"
            ),
        ]
        indexes = [models.Index(fields=["state", "due_at"], name="operation_due")]

    def __str__(self) -> str:
        where = f" on {self.endpoint}" if self.endpoint else ""
        return f"{self.get_kind_display()} {self.model_name}{where}"

    @property
    def site(self) -> Endpoint:
        """The endpoint of an operation that has one: every one but an apply."""
        assert self.endpoint is not None  # noqa: S101 - no apply is ever asked
        return self.endpoint

    @property
    def model_names(self) -> list[str]:
        """The models that it touches, its own first; those of an apply are its steps'."""
        return list(dict.fromkeys([self.model_name, *self.unload]))

    @property
    def is_active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in self.ACTIVE


class OperationTarget(models.Model):
    """A model on an endpoint that an active operation touches; one active operation at a time may hold it."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="targets")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=255)
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "model_name"], condition=Q(active=True), name="one_active_operation_per_target"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model_name} on {self.endpoint}"


class OperationStep(models.Model):
    """One outside effect of an operation: an unload, a load, a restore. Written before the effect, settled after it.

    ``expected_bytes`` is the VRAM that it should take or give back, ``baseline`` the used bytes of each GPU (by UUID)
    before the effect: a second runner measures against what the first one wrote.
    """

    class Action(models.TextChoices):
        LOAD = "load", "Load"
        UNLOAD = "unload", "Unload"
        RESTORE = "restore", "Put back"
        CLEAN_UP = "clean_up", "Take out again"
        PULL = "pull", "Pull"
        DELETE = "delete", "Delete"
        KEEP_ALIVE = "keep_alive", "Change keep-alive"
        MEASURE = "measure", "Measure speed"

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Not needed"

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.IntegerField()
    action = models.CharField(max_length=12, choices=Action.choices)
    model_name = models.CharField(max_length=255)
    options = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expected_bytes = models.BigIntegerField(null=True)
    baseline = models.JSONField(default=dict)
    before_bytes = models.BigIntegerField(null=True)
    after_bytes = models.BigIntegerField(null=True)
    verified_by = models.CharField(max_length=10, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["operation_id", "position"]
        constraints = [models.UniqueConstraint(fields=["operation", "position"], name="step_position_is_unique")]

    def __str__(self) -> str:
        return f"{self.action} {self.model_name}"


class OperationLog(models.Model):
    """One line of an operation's story, in the order it happened; ``source`` is ``server`` where the server logged it."""

    SERVER = "server"

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="log")
    at = models.DateTimeField(auto_now_add=True)
    text = models.TextField()
    source = models.CharField(max_length=10, blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text
