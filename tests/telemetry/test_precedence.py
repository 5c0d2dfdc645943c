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
    ticket = precedence.begin()
    thread.start()
    order.append("urgent")
    precedence.end(ticket)
    thread.join(60)
    assert order == ["urgent", "many"]


def test_it_gives_way_for_so_long_only(monkeypatch) -> None:
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.01)
    precedence = Precedence()
    precedence.begin()
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
    ticket = precedence.begin()
    thread.start()
    precedence.end(ticket)
    thread.join(30)
    assert order == ["many"]


def test_work_for_many_is_done_one_at_a_time_and_may_be_part_of_itself(monkeypatch) -> None:
    monkeypatch.setattr(module, "LONGEST_TURN_SECONDS", 60)
    precedence, order = Precedence(), []

    def work(name: str, within: threading.Event, goes_on: threading.Event) -> None:
        with precedence.turn(), precedence.turn():
            order.append(f"{name} begins")
            within.set()
            goes_on.wait(30)
            order.append(f"{name} ends")

    events = [threading.Event() for _ in range(4)]
    first = threading.Thread(target=work, args=("first", *events[:2]))
    second = threading.Thread(target=work, args=("second", *events[2:]))
    first.start()
    assert events[0].wait(30)
    second.start()
    events[3].set()
    events[1].set()
    for thread in (first, second):
        thread.join(30)
    assert order == ["first begins", "first ends", "second begins", "second ends"]
