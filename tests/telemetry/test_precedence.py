"""What many wait for gives way to what somebody looks at."""

from __future__ import annotations

import threading

from models_app.telemetry import precedence as module
from models_app.telemetry.precedence import Precedence


def test_nothing_of_many_begins_before_the_urgent_has_ended(monkeypatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 60)
    precedence, order = Precedence(), []

    def write_many() -> None:
        precedence.give_way()
        order.append("many")

    thread = threading.Thread(target=write_many)
    with precedence.urgent():
        thread.start()
        order.append("urgent")
    thread.join(60)
    assert order == ["urgent", "many"]


def test_it_gives_way_for_so_long_only(monkeypatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.01)
    precedence = Precedence()
    with precedence.urgent():
        precedence.give_way()


def test_what_never_ended_holds_nothing_up_later(monkeypatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.01)
    precedence, order = Precedence(), []
    precedence.begin()
    precedence.give_way()
    monkeypatch.setattr(module, "LONGEST_SECONDS", 60)

    def write_many() -> None:
        precedence.give_way()
        order.append("many")

    thread = threading.Thread(target=write_many)
    with precedence.urgent():
        thread.start()
    thread.join(30)
    assert order == ["many"]
