"""The audit trail over the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User

from models_app.accounts import audit
from models_app.accounts.models import ApiToken, AuditEntry
from models_app.accounts.roles import PANEL
from tests.api.conftest import Script


def test_an_action_asked_for_by_a_script_is_kept_with_its_address(writer: Script) -> None:
    writer.client.defaults["REMOTE_ADDR"] = "203.0.113.9"
    writer.send("patch", "alert-rules/vram_full", {"raise_at": 95})
    (found,) = writer.get("audit-entries", address="203.0.113.9").json()["items"]
    assert (found["actor_name"], found["via"], found["action"]) == ("ada", "api", "alert_rule.change")


def test_what_the_panel_does_by_itself_has_no_address(writer: Script) -> None:
    audit.record(PANEL, "endpoint.add")
    assert [each["address"] for each in writer.get("audit-entries", via="panel").json()["items"]] == [""]


def test_only_admins_read_the_trail(reader: Script, script_of: Callable[..., Any], admin: User) -> None:
    assert reader.get("audit-entries").json()["code"] == "forbidden"
    assert script_of(admin, ApiToken.Scope.READ).get("audit-entries").status_code == 200


def test_an_address_longer_than_any_is_cut(writer: Script) -> None:
    writer.client.defaults["REMOTE_ADDR"] = "x" * 500
    writer.send("patch", "alert-rules/vram_full", {"raise_at": 95})
    assert AuditEntry.objects.get(action="alert_rule.change").address == "x" * 45
