"""Alerts by e-mail."""

from __future__ import annotations

import socketserver
import threading
import time

import pytest
from django.core import mail
from django.utils import timezone

from models_app.alerts.delivery import smtp
from models_app.alerts.delivery.models import Delivery
from models_app.alerts.delivery.queue import LEASE, announce
from models_app.alerts.models import Alert
from tests.alerts.delivery.test_webhooks import deliver
from tests.factories import AlertFactory, ReceiverFactory

BACKEND = "models_app.alerts.delivery.smtp.BoundedBackend"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person(db):
    return ReceiverFactory(kind="email", address="ops@example.org", secret="")


def test_an_alert_is_mailed_with_its_figures_and_what_helps(person, settings):
    settings.EMAIL_HOST, settings.PANEL_URL = "mail.example.org", "https://berth.example/"
    announce(AlertFactory(advice="Unload a model.", subject_name="atlas\nBcc: all@example.org"), timezone.now())
    deliver()
    [message] = mail.outbox
    assert message.to == ["ops@example.org"]
    assert message.subject == "Berth: VRAM nearly full (atlas Bcc: all@example.org)"
    assert "In use: 23.0 GiB" in message.body
    assert "Unload a model." in message.body
    assert f"In the panel: https://berth.example/alerts/{Alert.objects.get().pk}/" in message.body
    assert Delivery.objects.get().state == "delivered"


def test_without_a_mail_server_the_verdict_says_so(person):
    announce(AlertFactory(), timezone.now())
    deliver()
    row = Delivery.objects.get()
    assert (row.state, row.attempt) == ("failed", 1)
    assert "BERTH_EMAIL_HOST" in row.verdict
    assert mail.outbox == []


def test_a_mail_server_that_refuses_is_tried_again(person, settings):
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    settings.EMAIL_BACKEND = BACKEND
    announce(AlertFactory(), timezone.now())
    deliver()
    row = Delivery.objects.get()
    assert row.state == "pending"
    assert "did not take it" in row.verdict


class Dripping(socketserver.BaseRequestHandler):
    """A greeting of many lines, which ends at last and never helps."""

    def handle(self) -> None:
        for _ in range(500):
            try:
                self.request.sendall(b"220-one moment\r\n")
            except OSError:
                return
            time.sleep(0.01)


def test_a_mail_server_that_answers_a_little_at_a_time_is_left_before_the_lease_is_over(person, settings, monkeypatch):
    assert LEASE.total_seconds() - smtp.CONVERSATION_SECONDS >= settings.EMAIL_TIMEOUT
    monkeypatch.setattr(smtp, "CONVERSATION_SECONDS", 0.2)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.server_address[1]
        settings.EMAIL_BACKEND, settings.EMAIL_USE_TLS = BACKEND, False
        announce(AlertFactory(), timezone.now())
        deliver()
        server.shutdown()
    row = Delivery.objects.get()
    assert row.state == "pending"
    assert "longer than 0.2 s" in row.verdict
