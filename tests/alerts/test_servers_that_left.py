"""A server that Berth found by itself and that is there no more: an outage at first, then something to tidy up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.alerts.evaluator import Evaluator
from models_app.alerts.models import Alert
from models_app.alerts.rules.findings import Page
from models_app.alerts.summary import summary
from tests.factories import EndpointFactory


@pytest.mark.django_db
def test_an_alert_that_has_become_less_urgent_leaves_the_banner_and_keeps_its_button() -> None:
    now = timezone.now()
    refused = {"state": "unreachable", "state_code": "endpoint_refused_connection", "state_message": "Nobody listens."}
    EndpointFactory(discovered=True, last_seen_at=now, **refused)
    evaluator = Evaluator()
    evaluator.evaluate(now)
    evaluator.evaluate(now + timedelta(minutes=1))
    alert = Alert.objects.get()
    assert (alert.severity, len(summary().critical)) == ("critical", 1)
    evaluator.evaluate(now + timedelta(hours=1))
    alert.refresh_from_db()
    assert (alert.state, alert.severity, alert.action["page"]) == ("open", "warning", Page.REMOVE_ENDPOINT)
    assert summary().critical == ()
