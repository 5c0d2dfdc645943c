"""Alerts, their rules and their receivers over the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.models import Alert, Mute, RuleLimits
from tests.factories import AlertFactory, ReceiverFactory

WEBHOOK = {"name": "pager", "kind": "webhook", "address": "https://hooks.example.org/T000/secret-path"}


@pytest.fixture
def alert(db) -> Alert:
    action = {"words": "Unload a", "page": "operations", "fields": {"kind": "unload", "endpoint": "1", "model": "a"}}
    return AlertFactory(action=action)


def test_an_alert_has_its_evidence_and_a_proposed_action(reader, alert):
    [shown] = reader.get("alerts", state="open").json()["items"]
    assert shown["title"] == "VRAM nearly full"
    assert shown["evidence"] == [{"label": "In use", "value": 23 * 1024**3, "unit": "bytes"}]
    assert shown["action"]["fields"]["kind"] == "unload"
    assert shown["mute"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [({"state": "cleared"}, 1), ({"severity": "critical"}, 1), ({"rule": "gpu_hot"}, 1), ({"q": "atlas"}, 3)],
)
def test_alerts_are_filtered(reader, alert, query, count):
    AlertFactory(rule="gpu_hot", severity="critical")
    AlertFactory(state="cleared", cleared_at=timezone.now())
    assert reader.get("alerts", **query).json()["total"] == count


def test_an_alert_is_acknowledged_once_and_only_while_it_is_open(writer, alert):
    assert writer.post(f"alerts/{alert.pk}/acknowledge").json()["acknowledged_by"] == "ada"
    assert writer.post(f"alerts/{alert.pk}/acknowledge").status_code == 200
    assert AuditEntry.objects.filter(action="alert.acknowledge").count() == 1
    over = AlertFactory(state="cleared")
    answer = writer.post(f"alerts/{over.pk}/acknowledge")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_cleared")


def test_an_alert_is_muted_with_a_reason_and_heard_again(writer, alert):
    until = timezone.now() + timedelta(hours=2)
    shown = writer.post(f"alerts/{alert.pk}/mute", {"until": until.isoformat(), "reason": "new card on Friday"}).json()
    assert (shown["mute"]["muted_by"], shown["mute"]["reason"]) == ("ada", "new card on Friday")
    assert writer.post(f"alerts/{alert.pk}/unmute").json()["mute"] is None
    assert not Mute.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2001-01-01T00:00:00Z", "reason": "late"}, "until"),
        ({"until": "9999-12-31T23:59:59-12:00", "reason": "long"}, "until"),
        ({"until": "2027-01-01T00:00:00Z", "reason": "  "}, "reason"),
    ],
)
def test_a_mute_that_makes_no_sense_is_refused(writer, alert, body, field):
    answer = writer.post(f"alerts/{alert.pk}/mute", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_limits_are_read_and_changed(writer):
    assert {each["is_default"] for each in writer.get("alert-rules").json()} == {True}
    changed = writer.send("patch", "alert-rules/vram_full", {"raise_at": 95}).json()
    assert (changed["raise_at"], changed["clear_at"], changed["is_default"]) == (95, 85, False)
    assert writer.send("patch", "alert-rules/vram_full", {"raise_at": 90}).json()["is_default"]
    assert not RuleLimits.objects.exists()


@pytest.mark.parametrize(
    "body", [{"raise_at": 80}, {"clear_at": 90}, {"for_seconds": -1}, {"for_seconds": 1e9}, {"off": True}]
)
def test_limits_that_make_no_sense_are_refused(writer, body):
    assert writer.send("patch", "alert-rules/vram_full", body).status_code == 422
    assert writer.send("patch", "alert-rules/no_such", {}).status_code == 404


def test_a_receiver_is_added_changed_tried_and_removed_and_its_secrets_never_come_back(writer):
    added = writer.post("alert-receivers", WEBHOOK | {"secret": "sixteen characters"})
    assert added.status_code == 201
    assert added.json()["address"] == "https://hooks.example.org/…"
    where = f"alert-receivers/{added.json()['id']}"
    assert writer.send("put", where, WEBHOOK | {"is_on": False}).json()["is_on"] is False
    assert Receiver.objects.get().secret == "sixteen characters"
    assert writer.post(f"{where}/test").status_code == 202
    assert Delivery.objects.get().event == "test"
    everything = writer.get("alert-receivers").content + str(list(AuditEntry.objects.values())).encode()
    assert b"sixteen" not in everything
    assert b"secret-path" not in everything
    assert writer.send("delete", where).status_code == 204


@pytest.mark.parametrize(
    ("different", "field"),
    [
        ({"address": "http://169.254.169.254/latest"}, "address"),
        ({"address": "ftp://example.org"}, "address"),
        ({"address": "http://user:pass@example.org"}, "address"),
        ({"kind": "email", "address": "not an address"}, "address"),
        ({"kind": "email", "address": "a@example.org\nBcc: all@example.org"}, "address"),
        ({"secret": "short"}, "secret"),
        ({"name": " "}, "name"),
    ],
)
def test_a_receiver_that_makes_no_sense_is_refused(writer, different, field):
    answer = writer.post("alert-receivers", WEBHOOK | different)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_an_email_receiver_that_becomes_a_webhook_signs_with_no_empty_secret(writer):
    added = writer.post("alert-receivers", WEBHOOK | {"kind": "email", "address": "ops@example.org"})
    where = f"alert-receivers/{added.json()['id']}"
    answer = writer.send("put", where, WEBHOOK)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_secret")
    assert answer.json()["errors"][0]["field"] == "secret"
    assert Receiver.objects.get().kind == "email"
    assert writer.send("put", where, WEBHOOK | {"secret": "sixteen characters"}).status_code == 200


def test_members_see_and_change_nothing(reader, alert):
    receiver = ReceiverFactory()
    for method, path in (
        ("POST", f"alerts/{alert.pk}/acknowledge"),
        ("POST", f"alerts/{alert.pk}/mute"),
        ("PATCH", "alert-rules/vram_full"),
        ("POST", "alert-receivers"),
        ("DELETE", f"alert-receivers/{receiver.pk}"),
        ("POST", f"alert-receivers/{receiver.pk}/test"),
    ):
        assert reader.send(method.lower(), path, {}).status_code == 403
