"""While the database or Redis is away, the log says so in one line a minute; everything else is told whole."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from controlpanel.logs import OneLine
from models_app.operations import heartbeats

AWAY = "connection failed\n\tIs the server running?"


def record(error: Exception, words: str = "host %s could not be sampled", argument: str = "atlas") -> logging.LogRecord:
    info = (type(error), error, None)
    return logging.LogRecord("collector", logging.ERROR, __file__, 1, words, (argument,), info)


def told(*arguments: Any) -> logging.LogRecord:
    return logging.LogRecord("live", logging.WARNING, __file__, 1, "event not sent: %s", arguments, None)


def test_the_same_trouble_at_the_same_place_is_told_once_and_without_a_traceback() -> None:
    terse = OneLine()
    first, again, elsewhere = (record(OperationalError("disk is full"), argument=name) for name in ("a", "a", "b"))
    assert [bool(terse.filter(one)) for one in (first, again, elsewhere)] == [True, False, True]
    assert first.getMessage() == "host a could not be sampled: disk is full"
    assert first.exc_info is None


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(AWAY),
        RedisConnectionError(AWAY),
        ExceptionGroup("not everything was done", [OperationalError(AWAY), ExceptionGroup("", [OperationalError(AWAY)])]),
    ],
)
def test_whatever_is_away_is_told_without_what_drivers_add(error: Exception) -> None:
    raised = record(error)
    assert OneLine().filter(raised)
    assert raised.exc_info is None
    assert raised.getMessage() == "host atlas could not be sampled: connection failed"


def test_a_warning_that_names_the_error_is_told_once_too() -> None:
    terse = OneLine()
    error = RedisConnectionError("refused")
    assert [bool(terse.filter(told(error))) for _ in range(2)] == [True, False]
    assert [bool(terse.filter(told("refused"))) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a mistake of ours"),
        ExceptionGroup("not everything was done", [OperationalError("away"), RuntimeError("a mistake of ours")]),
    ],
)
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    unexpected = record(error)
    assert OneLine().filter(unexpected)
    assert unexpected.exc_info is not None


@pytest.mark.django_db
def test_what_is_not_ready_is_told_once_with_the_reason(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    heartbeats.beat(heartbeats.RECONCILER)
    for _ in range(2):
        assert client.get("/readyz").status_code == 503
    first, again = (one for one in caplog.records if one.name == "django.request")
    assert first.getMessage() == "No worker has been seen for a while: /readyz"
    terse = OneLine()
    assert [bool(terse.filter(one)) for one in (first, again)] == [True, False]


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/no-such-page/", "/api/v1/hosts/4711", "/api/v1/no-such-list"])
def test_what_a_client_asks_for_in_vain_is_no_warning(
    as_admin: Client, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    assert as_admin.get(address).status_code == 404
    lines = [one for one in caplog.records if OneLine().filter(one)]
    assert {one.levelname for one in lines} <= {"INFO"}


@pytest.mark.django_db
def test_a_failed_csrf_check_stays_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert Client(enforce_csrf_checks=True).post("/login/").status_code == 403
    (line,) = (one for one in caplog.records if OneLine().filter(one))
    assert (line.name, line.levelname) == ("django.security.csrf", "WARNING")


def test_clients_mistakes_are_not_told_where_only_warnings_are(caplog: pytest.LogCaptureFixture) -> None:
    line = logging.LogRecord("django.request", logging.WARNING, __file__, 1, "Not Found: /x", (), None)
    line.status_code = 404
    caplog.set_level(logging.WARNING, logger="django.request")
    assert not OneLine().filter(line)
