"""Schedules: at these times a plan is applied, or a demand is made available."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from models_app.operations.models import Operation
from models_app.plans.models import Demand, Plan


class Schedule(models.Model):
    """A cron expression in a time zone and what it brings about: ``plan`` is applied or ``demand`` is made available.

    ``next_at`` is when it fires next. Since ``waiting_since`` a firing waits: for an apply under way (``when_busy``), or
    for ``solving``, the plan's demands solved anew against the fleet as it is then. ``outcome`` is what became of the last.
    """

    class WhenBusy(models.TextChoices):
        WAIT = "wait", "Wait for it"
        SKIP = "skip", "Skip this time"

    name = models.CharField(max_length=80, unique=True)
    cron = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=60, default="UTC")
    plan = models.ForeignKey(Plan, null=True, on_delete=models.CASCADE, related_name="schedules")
    demand = models.ForeignKey(Demand, null=True, on_delete=models.CASCADE, related_name="schedules")
    when_busy = models.CharField(max_length=4, choices=WhenBusy.choices, default=WhenBusy.WAIT)
    enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True)
    waiting_since = models.DateTimeField(null=True)
    solving = models.ForeignKey(Plan, null=True, on_delete=models.SET_NULL, related_name="+")
    fired_at = models.DateTimeField(null=True)
    outcome = models.TextField(blank=True)
    operation = models.ForeignKey(Operation, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(plan__isnull=True) ^ Q(demand__isnull=True), name="schedule_has_a_plan_or_a_demand"
            )
        ]

    def __str__(self) -> str:
        return self.name
