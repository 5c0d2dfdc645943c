"""Whatever was away is looked out for, and its return told once."""

from __future__ import annotations

import logging
import threading

import pytest

from controlpanel import returns
from controlpanel.returns import Return


class Server:
    """Refuses as often as it is told, then answers."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.answered = threading.Event()
        self.may_answer = threading.Event()

    def ask(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("refused")
        self.may_answer.wait(10)
        self.answered.set()


def lookouts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "return of Redis"]


def wait_for_the_end() -> None:
    for thread in lookouts():
        thread.join(10)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returns, "PAUSE_SECONDS", 0)


def test_a_return_is_told_once_however_many_places_met_the_absence(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(refusals=3)
    awaited = Return("Redis", server.ask, (ConnectionError,))
    for _ in range(5):
        awaited.await_it()
    assert len(lookouts()) == 1
    server.may_answer.set()
    wait_for_the_end()
    (line,) = caplog.records
    assert (line.levelno, line.getMessage()) == (logging.WARNING, "Redis answers again; it was away for 0 s")


def test_what_answers_at_once_was_not_away(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(refusals=0)
    server.may_answer.set()
    Return("Redis", server.ask, (ConnectionError,)).await_it()
    assert server.answered.wait(10)
    wait_for_the_end()
    assert not caplog.records


def test_a_second_absence_is_looked_out_for_again(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(refusals=1)
    server.may_answer.set()
    awaited = Return("Redis", server.ask, (ConnectionError,))
    awaited.await_it()
    wait_for_the_end()
    server.refusals = 1
    awaited.await_it()
    wait_for_the_end()
    assert len(caplog.records) == 2
