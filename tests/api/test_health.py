"""``/healthz`` and ``/readyz`` need no login and tell the truth."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

from models_app.operations import heartbeats

pytestmark = pytest.mark.django_db


def test_a_process_that_serves_is_alive() -> None:
    assert Client().get("/healthz").json() == {"status": "alive"}


def test_a_panel_without_worker_and_reconciler_is_not_ready() -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] == "ok"
    assert answer.json()["parts"]["worker"] != "ok" != answer.json()["parts"]["reconciler"]


def test_a_worker_is_not_blamed_for_a_reconciler_that_is_away() -> None:
    assert Client().get("/readyz").json()["parts"]["worker"].endswith("the reconciler asks them for a sign of life.")
    heartbeats.beat(heartbeats.RECONCILER)
    assert Client().get("/readyz").json()["parts"]["worker"] == "No worker has been seen for a while."


def test_a_panel_without_a_gpu_is_ready() -> None:
    heartbeats.beat(heartbeats.WORKER)
    heartbeats.beat(heartbeats.RECONCILER)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")


def test_a_database_that_does_not_answer_is_named() -> None:
    with patch("models_app.api.health.connection.cursor", side_effect=OperationalError("gone")):
        answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["database"] == "The database does not answer."
