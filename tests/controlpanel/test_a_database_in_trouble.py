"""A database that cannot work is told to people as what they can do."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

from controlpanel.database import Trouble, trouble_of


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        ("database or disk is full", Trouble.FULL),
        ('could not extend file "base/1/2": No space left on device', Trouble.FULL),
        ("database is locked", Trouble.AWAY),
        ("connection refused", Trouble.AWAY),
    ],
)
def test_a_full_disk_is_told_from_a_database_that_is_away(words: str, trouble: Trouble) -> None:
    assert trouble_of(OperationalError(words)) is trouble


def test_a_page_says_what_to_do_and_reads_no_database(client: Client, admin_user: object) -> None:
    client.force_login(admin_user)  # type: ignore[arg-type]
    client.raise_request_exception = False
    with patch("models_app.web.views.audit.render", side_effect=OperationalError("database or disk is full")):
        answer = client.get("/audit/")
    assert answer.status_code == 503
    assert answer["Berth-Trouble"] == Trouble.FULL.sentence
    assert "Make room there" in answer.content.decode()
