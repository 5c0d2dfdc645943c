"""Agents: who may connect, what is known of each, and what each is asked to do."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

from models_app.agent.messages import CloseCode
from models_app.inventory.models import Host

LEAST_SKEW_SECONDS = 2.0
AWAY_AFTER = timedelta(seconds=10)
"""Without a word, after which an agent counts as away."""
NOT_LET_IN = {
    CloseCode.REFUSED: "It asks to be let in, and its secret is refused: choose “Enrol again”, and use the token there.",
    CloseCode.VERSION: "Its program is not of the panel's version, so it is not let in: install the panel's there.",
}


class Enrolment(models.Model):
    """A one-time token for a host's agent. The token is made from ``salt`` and the panel's secret key, and not stored."""

    key_id = models.CharField(max_length=32, unique=True)
    salt = models.CharField(max_length=64)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="enrolments")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"token for {self.host}"


class Agent(models.Model):
    """The agent of a host. Its secret is made from ``token_salt``, ``salt`` and the panel's secret key, and not stored.

    ``boot_id`` and ``committed`` are the process that reported last and the greatest sequence of it that is stored.
    ``connection`` names the socket that speaks for it, empty where there is none. ``clock_skew_seconds`` is how far its
    wall clock was ahead of the panel's when it connected. ``problem`` says what of its reports was refused and why, or why
    it is not let in.
    """

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="agent")
    key_id = models.CharField(max_length=32, unique=True)
    token_salt = models.CharField(max_length=64)
    salt = models.CharField(max_length=64)
    hostname = models.CharField(max_length=255, blank=True)
    program = models.CharField(max_length=40, blank=True)
    boot_id = models.CharField(max_length=64, blank=True)
    committed = models.BigIntegerField(default=0)
    connection = models.CharField(max_length=32, blank=True)
    connected_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    clock_skew_seconds = models.FloatField(null=True)
    problem = models.TextField(blank=True)
    enrolled_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["host__name"]

    def __str__(self) -> str:
        return f"agent of {self.host}"

    @property
    def is_connected(self) -> bool:
        """Whether a socket speaks for it. One of a panel that was killed stays in the row, and says nothing more."""
        return bool(self.connection) and self.last_seen_at is not None and timezone.now() - self.last_seen_at <= AWAY_AFTER

    @property
    def is_turned_away(self) -> bool:
        """Whether it came since it was connected last, and was not let in."""
        return self.problem in NOT_LET_IN.values()

    @property
    def skew_seconds(self) -> float:
        """By how much its clock was wrong, whichever way."""
        return abs(self.clock_skew_seconds or 0.0)

    @property
    def is_skewed(self) -> bool:
        """Whether that is more than the way of a message explains."""
        return self.skew_seconds >= LEAST_SKEW_SECONDS


class AgentCommand(models.Model):
    """One call asked of an agent. The row is the truth; the socket only carries it.

    ``arguments``, ``answer`` and ``failure`` are as ``agent.codec`` writes them. ``boot_id`` is the agent's process that
    got it. ``deadline_at`` is when nobody waits any longer.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        SENT = "sent", "Sent"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        LOST = "lost", "Lost"

    OPEN = (State.QUEUED, State.SENT)

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="commands")
    call = models.CharField(max_length=40)
    endpoint = models.CharField(max_length=40, blank=True)
    arguments = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    boot_id = models.CharField(max_length=64, blank=True)
    progress = models.JSONField(default=dict)
    answer = models.JSONField(null=True)
    failure = models.JSONField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["agent", "state"], name="agent_commands_by_state"),
            models.Index(fields=["finished_at"], name="agent_commands_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.call} at {self.endpoint or 'the host'}"
