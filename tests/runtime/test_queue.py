"""The queue of one process: its reader is woken by a message, and by room for one more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

QUEUE = Queue("letters", Exchange("letters"), "letters")
PATIENCE_SECONDS = 20.0


@pytest.fixture
def connection() -> Iterator[Connection]:
    with Connection("localhost", transport="models_app.runtime.queue:Transport") as one:
        yield one


def send(*texts: str) -> None:
    with Connection("localhost", transport="models_app.runtime.queue:Transport") as own:
        for text in texts:
            Producer(own).publish(text, exchange=QUEUE.exchange, routing_key="letters", declare=[QUEUE])


def test_a_reader_that_waits_is_woken_by_a_message(connection: Connection) -> None:
    read: list[str] = []
    with Consumer(connection, [QUEUE], callbacks=[lambda body, message: (read.append(body), message.ack())]):
        sender = threading.Timer(0.05, send, ["hello"])
        sender.start()
        connection.drain_events(timeout=PATIENCE_SECONDS)
        sender.join()
    assert read == ["hello"]


def test_a_reader_that_may_hold_no_more_is_woken_when_it_has_settled_one(connection: Connection) -> None:
    held: list[object] = []
    with Consumer(connection, [QUEUE], callbacks=[lambda _, message: held.append(message)], prefetch_count=1):
        send("one", "two")
        connection.drain_events(timeout=PATIENCE_SECONDS)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0)
        settling = threading.Timer(0.05, held[0].ack)  # type: ignore[attr-defined]
        settling.start()
        connection.drain_events(timeout=PATIENCE_SECONDS)
        settling.join()
    assert len(held) == 2


def test_nothing_within_the_time_is_a_timeout(connection: Connection) -> None:
    with Consumer(connection, [QUEUE]), pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.01)
