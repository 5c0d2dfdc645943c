"""The audit trail's entries."""

from __future__ import annotations

from models_app.accounts import audit
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL, Via, actor
from tests.factories import HostFactory


def test_an_entry_says_who_what_and_through_which_door(admin):
    host = HostFactory(name="atlas")
    audit.record(actor(admin, Via.API), "host.update", host, was="old")
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.actor_name, entry.via) == (admin, "ada", "api")
    assert (entry.action, entry.object_type, entry.object_id, entry.object_name) == (
        "host.update",
        "host",
        host.pk,
        "atlas",
    )
    assert entry.detail == {"was": "old"}


def test_the_panel_itself_acts_without_a_user(db):
    audit.record(PANEL, "endpoint.add")
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.actor_name, entry.via) == (None, "Berth", "panel")


def test_an_entry_outlives_its_user_and_its_object(admin):
    host = HostFactory(name="atlas")
    audit.record(actor(admin, Via.WEB), "host.add", host)
    host.delete()
    admin.delete()
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.actor_name, entry.object_name) == (None, "ada", "atlas")
