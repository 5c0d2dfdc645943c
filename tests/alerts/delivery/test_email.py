"""Alerts by e-mail."""

from __future__ import annotations

import pytest
from django.core import mail
from django.utils import timezone

from models_app.alerts.delivery.models import Delivery
from models_app.alerts.delivery.queue import announce
from models_app.alerts.models import Alert
from tests.alerts.delivery.test_webhooks import deliver
from tests.factories import AlertFactory, ReceiverFactory

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
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    announce(AlertFactory(), timezone.now())
    deliver()
    row = Delivery.objects.get()
    assert row.state == "pending"
    assert "did not take it" in row.verdict
