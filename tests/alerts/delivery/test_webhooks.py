"""Webhooks over real sockets: signed, bounded, tried again, and no way into the panel's own network."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from datetime import timedelta

import pytest
from django.utils import timezone

from controlpanel.encrypted import Unreadable
from models_app.alerts.delivery import queue
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.delivery.queue import announce, queue_test
from models_app.alerts.delivery.worker import Deliverer
from models_app.alerts.models import Mute
from models_app.backends.address import AddressPolicy
from models_app.backends.errors import AddressRefused, TimedOut
from models_app.backends.webhook import post_signed
from tests.alerts.delivery.receiver import Listening, listening
from tests.factories import AlertFactory, ReceiverFactory

pytestmark = pytest.mark.django_db(transaction=True)


def deliver() -> None:
    async def once() -> None:
        deliverer = Deliverer()
        await deliverer.tick()
        await deliverer.settled()

    asyncio.run(once())


def due_again() -> None:
    """The pause before the next attempt is over."""
    Delivery.objects.filter(state="pending").update(due_at=timezone.now())


def receiver_at(there: Listening, **different: object) -> Receiver:
    return ReceiverFactory(address=there.url, **different)


def test_a_raised_alert_is_posted_with_its_evidence_and_a_signature_that_holds():
    with listening() as there:
        receiver_at(there, secret="shared secret words")
        alert = AlertFactory()
        announce(alert, timezone.now())
        deliver()
    [(headers, body)] = there.posts
    message = json.loads(body)
    assert message["event"] == "raised"
    assert message["alert"]["evidence"] == alert.evidence
    assert message["alert"]["path"] == f"/alerts/{alert.pk}/"
    signed = headers["Berth-Timestamp"].encode() + b"." + body
    expected = hmac.new(b"shared secret words", signed, hashlib.sha256).hexdigest()
    assert headers["Berth-Signature"] == f"v1={expected}"
    row = Delivery.objects.get()
    assert (row.state, row.attempt, row.verdict) == ("delivered", 1, "Accepted with 204.")
    assert headers["Berth-Message"] == str(row.pk)


def test_those_who_were_told_hear_that_it_is_over_and_nobody_else():
    with listening() as there:
        receiver_at(there)
        alert = AlertFactory()
        announce(alert, timezone.now())
        deliver()
        receiver_at(there)
        alert.state = "cleared"
        announce(alert, timezone.now())
        deliver()
    assert [json.loads(body)["event"] for _, body in there.posts] == ["raised", "cleared"]


def test_a_secret_that_cannot_be_read_ends_the_message_with_what_to_do(as_admin):
    with listening() as there:
        receiver = receiver_at(there, secret=Unreadable("gAAAA what another secret key had encrypted"))
        queue_test(receiver, timezone.now())
        deliver()
    row = Delivery.objects.get()
    assert (there.posts, row.state) == ([], "failed")
    assert "Type the secret again." in row.verdict
    assert "Its secret cannot be read" in as_admin.get("/alerts/receivers/").content.decode()
    assert "Type it again." in as_admin.get(f"/alerts/receivers/{receiver.pk}/").content.decode()


@pytest.mark.parametrize(
    "deaf", [{"is_on": False}, {"least_severity": "critical"}], ids=["switched off", "only for worse alerts"]
)
def test_who_does_not_want_to_hear_is_not_told(deaf):
    ReceiverFactory(**deaf)
    announce(AlertFactory(severity="warning"), timezone.now())
    assert not Delivery.objects.exists()


def test_a_muted_alert_is_told_to_nobody():
    alert = AlertFactory()
    ReceiverFactory()
    until = timezone.now() + timedelta(hours=1)
    Mute.objects.create(rule=alert.rule, subject=alert.subject, until=until, muted_by="ada", reason="known")
    announce(alert, timezone.now())
    assert not Delivery.objects.exists()


def test_what_fails_is_tried_again_with_growing_pauses_and_then_given_up():
    with listening(status=500) as there:
        queue_test(receiver_at(there), timezone.now())
        pauses = []
        for _ in range(6):
            due_again()
            before = timezone.now()
            deliver()
            row = Delivery.objects.get()
            pauses.append(round((row.due_at - before).total_seconds(), -1))
    assert pauses[:5] == [10, 60, 300, 1800, 7200]
    assert (row.state, row.attempt, row.verdict) == ("failed", 6, "It answered 500.")
    assert len(there.posts) == 6
    assert len({headers["Berth-Message"] for headers, _ in there.posts}) == 1


def test_a_receiver_that_recovers_gets_the_message():
    with listening(status=503) as there:
        queue_test(receiver_at(there), timezone.now())
        deliver()
        there.status = 200
        due_again()
        deliver()
    assert Delivery.objects.get().state == "delivered"


def test_a_message_that_is_not_due_waits():
    with listening(status=503) as there:
        queue_test(receiver_at(there), timezone.now())
        deliver()
        deliver()
    assert len(there.posts) == 1


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "same"])
def test_a_redirect_is_not_followed_wherever_it_leads(target):
    with listening() as inner, listening(status=307) as there:
        there.headers["Location"] = inner.url if target == "same" else target
        queue_test(receiver_at(there), timezone.now())
        deliver()
    row = Delivery.objects.get()
    assert (row.state, inner.posts) == ("pending", [])
    assert "redirects are not followed" in row.verdict


async def test_a_receiver_that_hangs_costs_its_deadline_and_no_more():
    with listening(hangs=True) as there, pytest.raises(TimedOut):
        await post_signed(there.url, b"{}", "secret", "1", AddressPolicy(), seconds=0.3)
    assert len(there.posts) == 1


def test_a_receiver_that_hangs_delays_no_other():
    async def both() -> str:
        deliverer = Deliverer()
        await deliverer.tick()
        assert await asyncio.to_thread(quick.arrived.wait, 10)
        slow.released.set()
        await deliverer.settled()
        return "done"

    with listening(hangs=True) as slow, listening() as quick:
        queue_test(receiver_at(slow), timezone.now())
        queue_test(receiver_at(quick), timezone.now())
        assert asyncio.run(both()) == "done"
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


async def test_a_name_that_leads_to_a_forbidden_address_is_refused_at_the_connection():
    policy = AddressPolicy(allow_loopback=False)
    with listening() as there, pytest.raises(AddressRefused):
        await post_signed(there.url.replace("127.0.0.1", "localhost"), b"{}", "secret", "1", policy)
    assert there.posts == []


def test_a_forbidden_address_is_not_tried_again():
    row = queue_test(ReceiverFactory(address="http://169.254.169.254/hook"), timezone.now())
    deliver()
    row.refresh_from_db()
    assert (row.state, row.attempt) == ("failed", 1)
    assert "metadata" in row.verdict


def test_nobody_home_is_a_verdict():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        row = queue_test(ReceiverFactory(address=f"http://127.0.0.1:{taken.getsockname()[1]}"), timezone.now())
        deliver()
    row.refresh_from_db()
    assert row.state == "pending"
    assert "Nothing listens" in row.verdict


def test_one_message_goes_to_one_worker_until_its_lease_ends():
    queue_test(ReceiverFactory(), timezone.now())
    now = timezone.now()
    assert len(queue.take_due(now, 10)) == 1
    assert queue.take_due(now, 10) == []
    assert len(queue.take_due(now + queue.LEASE, 10)) == 1


def test_a_verdict_that_comes_after_the_lease_changes_nothing():
    queue_test(ReceiverFactory(), timezone.now())
    now = timezone.now()
    [late] = queue.take_due(now, 10)
    [current] = queue.take_due(now + queue.LEASE, 10)
    queue.settle(late, "It answered 500.", now, ok=False)
    assert Delivery.objects.get().verdict == ""
    queue.settle(current, "Accepted with 200.", now, ok=True)
    assert Delivery.objects.get().state == "delivered"


def test_the_queue_of_a_receiver_that_is_away_is_bounded(monkeypatch):
    monkeypatch.setattr(queue, "MOST_PENDING", 3)
    ReceiverFactory()
    for _ in range(5):
        announce(AlertFactory(), timezone.now())
    assert Delivery.objects.count() == 3
