"""The first admin and the way back in."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.contrib.auth.models import User

from models_app.accounts.first_admin import ensure_first_admin, reset_admin
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import is_admin


def test_the_first_start_makes_an_admin_with_a_password_of_its_own(db):
    first = ensure_first_admin()
    assert first is not None
    assert len(first.password) >= 20
    user = authenticate(username=first.name, password=first.password)
    assert user is not None
    assert is_admin(user)


def test_a_second_start_makes_nobody(db):
    ensure_first_admin()
    assert ensure_first_admin() is None
    assert User.objects.count() == 1


def test_a_password_from_the_environment_is_used_and_not_shown(db, settings):
    settings.ADMIN_PASSWORD = "given by the installation"
    first = ensure_first_admin()
    assert first is not None
    assert first.password == ""
    assert authenticate(username=first.name, password="given by the installation")


def test_no_audit_entry_holds_the_password(db):
    first = ensure_first_admin()
    assert first is not None
    assert [entry.action for entry in AuditEntry.objects.all()] == ["account.first_admin"]
    assert not any(first.password in str(entry.__dict__) for entry in AuditEntry.objects.all())


def test_a_lost_password_is_replaced_and_a_closed_account_opened(db):
    User.objects.create_user("admin", password="forgotten", is_active=False)
    again = reset_admin()
    user = authenticate(username="admin", password=again.password)
    assert user is not None
    assert is_admin(user)
