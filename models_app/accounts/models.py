"""API tokens and the audit trail. Users and the two roles are Django's own users and groups."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from models_app.accounts.roles import MOST_ADDRESS


class ApiToken(models.Model):
    """A bearer token, stored as a hash; ``prefix`` lets people recognise it. It acts as ``user`` within its scope.

    ``owner_groups`` are the names of the user's groups where they were read together with the token.
    """

    owner_groups: frozenset[str | None] | None = None

    class Scope(models.TextChoices):
        READ = "read", "Read"
        WRITE = "write", "Read and write"

    name = models.CharField(max_length=80)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    scope = models.CharField(max_length=8, choices=Scope.choices)
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(models.Model):
    """One action of a person, a token or the panel itself. Entries are only ever added, until they are old.

    ``address`` is the client's, where a request asked for the action.
    """

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor_name = models.CharField(max_length=150)
    via = models.CharField(max_length=12)
    address = models.CharField(max_length=MOST_ADDRESS, blank=True)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.BigIntegerField(null=True)
    object_name = models.CharField(max_length=255, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["action"], name="audit_action"),
            models.Index(fields=["actor_name"], name="audit_actor"),
        ]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_name}".strip()
