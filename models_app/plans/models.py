"""Demands, which say what should be served, and plans, each a saved answer to where it should live."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from models_app.operations.models import Operation


class Demand(models.Model):
    """What should be served. The columns are those of ``plans.demand.DemandSpec``, which says what they mean.

    Models, hosts and GPUs are named as people name them, so that a demand outlives the rows that it speaks of.
    """

    name = models.CharField(max_length=80, unique=True)
    model = models.CharField(max_length=255)
    variants = models.JSONField(default=list, blank=True)
    context_length = models.IntegerField(default=8192)
    least_context_length = models.IntegerField(null=True, blank=True)
    slots = models.IntegerField(default=1)
    tags = models.JSONField(default=list, blank=True)
    priority = models.IntegerField(default=3)
    replicas = models.IntegerField(default=1)
    on_demand = models.BooleanField(default=False)
    tolerated_wait_seconds = models.IntegerField(null=True, blank=True)
    gpu_only = models.BooleanField(default=False)
    hosts = models.JSONField(default=list, blank=True)
    gpus = models.JSONField(default=list, blank=True)
    pinned_gpus = models.JSONField(default=list, blank=True)
    together_with = models.JSONField(default=list, blank=True)
    together_on = models.CharField(max_length=4, default="host")
    apart_from = models.JSONField(default=list, blank=True)
    apart_on = models.CharField(max_length=4, default="host")
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["priority", "name"]
        constraints = [
            models.CheckConstraint(condition=Q(priority__gte=1, priority__lte=5), name="demand_priority_is_1_to_5")
        ]

    def __str__(self) -> str:
        return self.name


class Plan(models.Model):
    """A solve that was saved: what was wanted, what the fleet was then, where everything should go and how to get there.

    ``demands`` are documents as ``plans.demand`` writes them, ``changes`` the what-if as ``plans.changes`` does, ``fleet``
    the snapshot of ``plans.snapshot`` and ``fingerprint`` its digest. ``today``, ``instances``, ``steps``, ``impossible``,
    ``goals``, ``unmet`` are rows of the values in ``plans.records``. ``notes`` say in words what was left out or assumed.
    ``difference`` says what of reality a stale plan no longer fits.

    ``operation`` is the apply that makes it so, or the latest that resumed it. The one applied plan is *active*: with
    ``enforce``, what drifts from it is put right.

        solving → draft     solved
        solving → failed    cannot be solved; ``error_code`` and ``error_message`` say why
        draft   → stale     reality has moved on
        draft   → applied   an operation made it so
        applied → stale     another plan was applied, or reality has moved on
    """

    class State(models.TextChoices):
        SOLVING = "solving", "Being solved"
        FAILED = "failed", "Not solved"
        DRAFT = "draft", "Draft"
        APPLIED = "applied", "Applied"
        STALE = "stale", "Stale"

    PARTS = ("fleet", "instances", "steps", "today", "notes")
    """Columns that make a row large, for who reads many and needs none of them."""

    name = models.CharField(max_length=80, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.SOLVING)
    demands = models.JSONField(default=list)
    changes = models.JSONField(default=dict, blank=True)
    seconds = models.FloatField(default=1.0)

    fleet = models.JSONField(default=dict)
    fingerprint = models.CharField(max_length=64, blank=True)
    today = models.JSONField(default=list)
    instances = models.JSONField(default=list)
    steps = models.JSONField(default=list)
    impossible = models.JSONField(default=list)
    goals = models.JSONField(default=list)
    unmet = models.JSONField(default=list)
    swap_bytes = models.JSONField(default=dict)
    notes = models.JSONField(default=list)
    figures = models.JSONField(default=dict)
    difference = models.JSONField(default=list)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    solved_at = models.DateTimeField(null=True)
    applied_at = models.DateTimeField(null=True)
    operation = models.ForeignKey(Operation, null=True, on_delete=models.SET_NULL, related_name="+")
    enforce = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name or f"Plan {self.pk}"

    @property
    def is_proven(self) -> bool:
        """Whether every goal is proven: optimal over the enumerated options."""
        return bool(self.goals) and all(goal["value"] == goal["bound"] for goal in self.goals)

    @property
    def places_nothing(self) -> bool:
        """Whether none of its demands is met anywhere: there is nothing that applying it could bring about."""
        return not any(instance["demand"] for instance in self.instances)

    @property
    def is_what_if(self) -> bool:
        """Whether it supposes GPUs that are not there, or that are there and removed: it can never be applied."""
        return bool(self.changes.get("added_gpus") or self.changes.get("removed_gpus"))
