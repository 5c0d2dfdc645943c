"""Alerts as rows: what was raised, what is muted, the limits that admins chose, and what the rules remember."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from models_app.alerts.rules.catalogue import RULE_BY_NAME
from models_app.alerts.rules.findings import Severity
from models_app.inventory.models import Host


class Alert(models.Model):
    """One thing that was wrong for some time: a rule and a subject. At most one is open for both.

    ``open`` → ``cleared`` is the only transition. ``evidence`` is a list of figures (``label``, ``value``, ``unit``) as of
    ``seen_at``; ``action`` is the proposed operation (``words``, ``page``, ``fields``) or empty. ``since`` is when
    the value came beyond its limit, ``raised_at`` when that had lasted long enough.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        CLEARED = "cleared", "Past"

    rule = models.CharField(max_length=40)
    severity = models.CharField(max_length=10, choices=[(each.value, each.value.capitalize()) for each in Severity])
    subject = models.CharField(max_length=300)
    subject_name = models.CharField(max_length=400)
    host = models.ForeignKey(Host, null=True, on_delete=models.SET_NULL, related_name="alerts")
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    value = models.FloatField(default=0)
    sentence = models.TextField()
    evidence = models.JSONField(default=list)
    advice = models.TextField(blank=True)
    action = models.JSONField(default=dict)
    since = models.DateTimeField()
    raised_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "subject"], condition=Q(state="open"), name="one_open_alert_per_subject"
            )
        ]
        indexes = [models.Index(fields=["state", "severity"], name="alert_by_state")]

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject_name}"

    @property
    def title(self) -> str:
        """The title of its rule; the rule's name where it is no longer known."""
        return RULE_BY_NAME[self.rule].title if self.rule in RULE_BY_NAME else self.rule


class Mute(models.Model):
    """What nobody wants to hear of until a moment: a rule on one subject, now and when it is raised again."""

    rule = models.CharField(max_length=40)
    subject = models.CharField(max_length=300)
    until = models.DateTimeField()
    muted_by = models.CharField(max_length=150)
    reason = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "subject"], name="one_mute_per_rule_and_subject")]

    def __str__(self) -> str:
        return f"{self.rule} of {self.subject} until {self.until:%Y-%m-%d %H:%M}"


class RuleLimits(models.Model):
    """The limits of a rule where an admin changed them; their meaning is that of ``rules.findings.Limits``."""

    rule = models.CharField(max_length=40, unique=True)
    is_on = models.BooleanField(default=True)
    raise_at = models.FloatField()
    clear_at = models.FloatField()
    for_seconds = models.FloatField()

    class Meta:
        verbose_name_plural = "rule limits"

    def __str__(self) -> str:
        return self.rule


class Remembered(models.Model):
    """The one row that keeps the rules' memory of the last hour over a restart."""

    payload = models.TextField()
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "remembered"

    def __str__(self) -> str:
        return f"as of {self.at:%H:%M:%S}"
