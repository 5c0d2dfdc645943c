"""The pages of alerts: three lists, one alert, the rules, and who is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.models import Alert, Mute, RuleLimits
from tests.factories import AlertFactory, ReceiverFactory

UNLOAD = {"words": "Unload a", "page": "operations", "fields": {"kind": "unload", "endpoint": "1", "model": "a"}}


@pytest.fixture
def alert(db) -> Alert:
    return AlertFactory(advice="Unload a model.", action=UNLOAD)


def results(client, address: str = "/alerts/", **query: str) -> str:
    return client.get(address, query).content.decode().split('id="results"')[-1]


def mute(alert: Alert, **different: object) -> Mute:
    columns = {"until": timezone.now() + timedelta(hours=1), "muted_by": "ada", "reason": "card comes on Friday"}
    return Mute.objects.create(rule=alert.rule, subject=alert.subject, **columns | different)


def test_an_alert_shows_its_evidence_its_advice_and_its_button(as_admin, alert):
    shown = results(as_admin)
    assert "VRAM nearly full" in shown
    assert "23.0 GiB" in shown
    assert "Unload a model." in shown
    assert 'name="model" value="a"' in shown
    assert ">Unload a</button>" in shown


def test_a_removal_is_a_link_to_its_question(as_admin, db):
    action = {"words": "Remove it from the list", "page": "host_endpoint_remove", "fields": {"endpoint_id": "7"}}
    AlertFactory(rule="endpoint_lost", action=action)
    assert 'href="/endpoints/7/remove/" hx-get="/endpoints/7/remove/" hx-target="#dialog"' in results(as_admin)


def test_members_see_alerts_without_buttons(as_member, alert):
    shown = results(as_member)
    assert "VRAM nearly full" in shown
    assert "<form" not in shown
    for address in ("acknowledge", "mute", "unmute"):
        assert as_member.post(f"/alerts/{alert.pk}/{address}/").status_code == 403
    assert as_member.get("/alerts/receivers/").status_code == 403
    assert as_member.get("/alerts/rules/vram_full/").status_code == 403
    assert as_member.get("/alerts/rules/").status_code == 200


def test_the_worst_comes_first(as_member, alert):
    AlertFactory(rule="endpoint_open", severity="notice", subject_name="a notice")
    AlertFactory(rule="host_lost", severity="critical", subject_name="a lost host")
    shown = results(as_member)
    assert shown.index("a lost host") < shown.index("atlas · GPU 0") < shown.index("a notice")


def test_open_muted_and_past_alerts_have_lists_of_their_own(as_member, alert):
    muted = AlertFactory(subject_name="a muted one")
    mute(muted)
    AlertFactory(state="cleared", cleared_at=timezone.now(), subject_name="a past one")
    for show, name in (("open", "atlas · GPU 0"), ("muted", "a muted one"), ("past", "a past one")):
        shown = results(as_member, show=show)
        assert [each for each in ("atlas · GPU 0", "a muted one", "a past one") if each in shown] == [name]
    assert "card comes on Friday" in results(as_member, show="muted")


def test_a_mute_that_has_run_out_mutes_nothing(as_member, alert):
    mute(alert, until=timezone.now() - timedelta(seconds=1))
    assert "atlas · GPU 0" in results(as_member)


@pytest.mark.parametrize("query", [{"severity": "warning"}, {"rule": "vram_full"}, {"q": "atlas full"}, {"q": "GPU"}])
def test_alerts_are_filtered_and_searched(as_member, alert, query):
    AlertFactory(rule="host_lost", severity="critical", subject_name="borealis", sentence="silent")
    shown = results(as_member, **query)
    assert ("atlas" in shown, "borealis" in shown) == (True, False)


def test_an_empty_list_teaches_what_is_watched_for(as_member, db):
    assert "Nothing is wrong" in results(as_member)
    assert "Nothing is muted" in results(as_member, show="muted")
    assert "Nothing matches" in results(as_member, q="no such thing")


def test_an_alert_is_acknowledged_and_says_by_whom(as_admin, alert):
    assert as_admin.post(f"/alerts/{alert.pk}/acknowledge/").url == "/alerts/"
    shown = results(as_admin)
    assert "acknowledged by ada" in shown
    assert "Acknowledge<" not in shown


def test_an_alert_is_muted_with_a_reason(as_admin, alert):
    refused = as_admin.post(f"/alerts/{alert.pk}/mute/", {"hours": "8", "reason": ""})
    assert refused.status_code == 422
    as_admin.post(f"/alerts/{alert.pk}/mute/", {"hours": "8", "reason": "known"})
    row = Mute.objects.get()
    assert (row.muted_by, row.reason) == ("ada", "known")
    assert timedelta(hours=7) < row.until - timezone.now() <= timedelta(hours=8)
    as_admin.post(f"/alerts/{alert.pk}/unmute/")
    assert not Mute.objects.exists()
    assert AuditEntry.objects.filter(action__in=["alert.mute", "alert.unmute"]).count() == 2


def test_a_critical_alert_stands_above_every_page_until_it_is_acknowledged(as_admin, db):
    alert = AlertFactory(rule="gpu_lost", severity="critical")
    assert "gpu lost" in as_admin.get("/hosts/").content.decode().split('id="alarm-banner"')[1][:600]
    as_admin.post(f"/alerts/{alert.pk}/acknowledge/")
    page = as_admin.get("/hosts/").content.decode()
    assert 'id="alarm-banner"></div>' in page
    assert "1 open alert, the worst critical" in page


def test_the_page_of_an_alert_tells_who_was_told(as_member, alert):
    row = ReceiverFactory(name="pager")
    Delivery.objects.create(
        receiver=row, alert=alert, event="raised", payload={}, due_at=timezone.now(), verdict="It answered 500."
    )
    shown = as_member.get(f"/alerts/{alert.pk}/").content.decode()
    assert "pager, raised: pending. It answered 500." in shown


def test_a_past_alert_offers_no_action(as_admin, alert):
    Alert.objects.update(state="cleared", cleared_at=timezone.now())
    assert ">Unload a</button>" not in as_admin.get(f"/alerts/{alert.pk}/").content.decode()


def test_what_an_alert_holds_is_never_taken_for_markup(as_admin, db):
    hostile = "<script>alert(1)</script>"
    AlertFactory(subject_name=hostile, sentence=hostile, evidence=[{"label": hostile, "value": 1, "unit": hostile}])
    assert hostile not in as_admin.get("/alerts/").content.decode()


def test_limits_are_changed_and_given_back(as_admin):
    good = {"is_on": "on", "raise_at": "95", "clear_at": "80", "for_seconds": "30"}
    refused = as_admin.post("/alerts/rules/vram_full/", good | {"clear_at": "96"})
    assert refused.status_code == 422
    assert 'value="96"' in refused.content.decode()
    as_admin.post("/alerts/rules/vram_full/", good)
    row = RuleLimits.objects.get()
    assert (row.raise_at, row.clear_at, row.for_seconds, row.is_on) == (95, 80, 30, True)
    assert "changed" in as_admin.get("/alerts/rules/").content.decode()
    as_admin.post("/alerts/rules/vram_full/", {"reset": "1"})
    assert not RuleLimits.objects.exists()
    assert as_admin.get("/alerts/rules/no-such/").status_code == 404


def test_a_webhooks_secret_is_shown_once(as_admin):
    form = {"name": "pager", "kind": "webhook", "address": "https://hooks.example.org/T0/path", "least_severity": "warning"}
    answer = as_admin.post("/alerts/receivers/add/", form | {"is_on": "on"})
    secret = Receiver.objects.get().secret
    assert answer.status_code == 201
    assert secret in answer.content.decode()
    later = as_admin.get("/alerts/receivers/").content.decode()
    later += as_admin.get(f"/alerts/receivers/{Receiver.objects.get().pk}/").content.decode()
    assert secret not in later
    assert "T0/path" not in later


def test_a_change_without_a_secret_or_address_keeps_the_stored_ones(as_admin):
    row = ReceiverFactory()
    changed = {"name": "renamed", "kind": "webhook", "address": "", "secret": "", "least_severity": "critical"}
    assert as_admin.post(f"/alerts/receivers/{row.pk}/", changed).status_code == 302
    now = Receiver.objects.get()
    assert (now.name, now.address, now.secret, now.is_on) == ("renamed", row.address, row.secret, False)


def test_a_receiver_that_is_refused_keeps_what_was_typed(as_admin):
    form = {"name": "pager", "kind": "webhook", "address": "http://169.254.169.254/", "least_severity": "warning"}
    answer = as_admin.post("/alerts/receivers/add/", form)
    assert answer.status_code == 422
    assert 'value="http://169.254.169.254/"' in answer.content.decode()
    assert not Receiver.objects.exists()


def test_a_receiver_is_tried_and_removed_after_a_question(as_admin):
    row = ReceiverFactory()
    as_admin.post(f"/alerts/receivers/{row.pk}/test/")
    assert Delivery.objects.get().event == "test"
    assert "Remove" in as_admin.get(f"/alerts/receivers/{row.pk}/remove/").content.decode()
    as_admin.post(f"/alerts/receivers/{row.pk}/remove/", {"confirmed": "1"})
    assert not Receiver.objects.exists()
