"""A database that cannot work is told in one line, and to people as what they can do."""

from __future__ import annotations

import logging
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

from controlpanel.database import OneLine, Trouble, trouble_of


def record(error: Exception, words: str = "host %s could not be sampled", argument: str = "atlas") -> logging.LogRecord:
    info = (type(error), error, None)
    return logging.LogRecord("collector", logging.ERROR, __file__, 1, words, (argument,), info)


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


def test_the_same_trouble_at_the_same_place_is_told_once_and_without_a_traceback() -> None:
    terse = OneLine()
    first, again, elsewhere = (record(OperationalError("disk is full"), argument=name) for name in ("a", "a", "b"))
    assert [bool(terse.filter(one)) for one in (first, again, elsewhere)] == [True, False, True]
    assert first.getMessage() == "host a could not be sampled: disk is full"
    assert first.exc_info is None


def test_other_errors_keep_their_traceback() -> None:
    unexpected = record(RuntimeError("a mistake of ours"))
    assert OneLine().filter(unexpected)
    assert unexpected.exc_info is not None


def test_a_page_says_what_to_do_and_reads_no_database(client: Client, admin_user: object) -> None:
    client.force_login(admin_user)  # type: ignore[arg-type]
    client.raise_request_exception = False
    with patch("models_app.web.views.audit.render", side_effect=OperationalError("database or disk is full")):
        answer = client.get("/audit/")
    assert answer.status_code == 503
    assert answer["Berth-Trouble"] == Trouble.FULL.sentence
    assert "Make room there" in answer.content.decode()
