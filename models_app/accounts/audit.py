"""The audit trail's one door."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import Actor


def record(actor: Actor, action: str, subject: Model | None = None, **detail: Any) -> None:
    """Add an entry. ``action`` is a verb phrase such as ``operation.load``; ``detail`` must hold no secret."""
    AuditEntry.objects.create(
        user_id=actor.user_id,
        actor_name=actor.name,
        via=actor.via.value,
        address=actor.address,
        action=action,
        object_type=subject._meta.model_name or "" if subject else "",
        object_id=subject.pk if subject else None,
        object_name=str(subject)[:255] if subject else "",
        detail=detail,
    )
