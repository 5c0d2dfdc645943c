"""``/audit-entries``: who did what, when, through which door and from which address. For admins."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel

from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import Via, is_admin
from models_app.api.errors import Problem
from models_app.api.paging import Columns, Listing, Page


class AuditEntryOut(BaseModel):
    """One action. ``via`` is `web`, `api`, `command` or `panel`; ``address`` is empty where no request asked for it."""

    id: int
    at: datetime
    actor_name: str
    via: str
    address: str
    action: str
    object_type: str
    object_id: int | None
    object_name: str
    detail: dict[str, Any]


router = Router(tags=["audit"])
LISTING = Listing[AuditEntry](
    sorts={"id": "id", "at": "at", "actor_name": "actor_name", "action": "action"},
    default_sort="-id",
    filters={"actor_name": "actor_name", "via": "via", "action": "action", "address": "address"},
    searches=("actor_name", "action", "object_name", "address"),
    choices={"via": frozenset(Via)},
)
COLUMNS = Columns.of(AuditEntryOut)


@router.get("", response=Page[AuditEntryOut], summary="The audit trail, for admins", openapi_extra=LISTING.describe())
def list_audit_entries(request: HttpRequest) -> dict[str, Any]:
    if not is_admin(request.user):
        raise Problem(403, "forbidden", "Only admins may read the audit trail.")
    return LISTING.table(request, AuditEntry.objects.all(), COLUMNS)
