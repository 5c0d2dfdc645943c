"""Each statement costs about a millisecond of the time between a click and the load: these numbers only fall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Endpoint
from models_app.operations import expected, records
from tests.operations.conftest import MIDDLE, SMALL, Stage

WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE")
READ_OF_A_MODEL = 4
EVENT = 2
"""Counting a live event up, and reading its number."""


def statements(ask: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as seen:
        ask()
    return sum(query["sql"].startswith(WORDS) for query in seen)


def test_a_request_reads_the_model_its_row_in_memory_the_gpus_reservations_and_earlier_loads(ollama: Stage) -> None:
    endpoint = Endpoint.objects.select_related("host").get()
    read, written = 5, 4
    assert statements(lambda: ollama.ask("load", SMALL, endpoint=endpoint)) == read + written + EVENT


def test_a_worker_reads_an_operation_and_takes_it(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    assert statements(lambda: records.take(operation.pk)) == 2 + EVENT


def test_a_worker_goes_on_with_what_the_request_has_read(
    ollama: Stage, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REDIS_URL = ""  # the worker is of this process
    monkeypatch.setattr(expected, "FRESH_SECONDS", 60)
    operation = ollama.ask("load", SMALL)
    assert statements(lambda: expected.expected(operation)) == 0
    assert statements(lambda: expected.expected(operation)) == READ_OF_A_MODEL


def test_what_was_read_too_long_ago_is_read_again(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "FRESH_SECONDS", -1)
    operation = ollama.ask("load", SMALL)
    assert statements(lambda: expected.expected(operation)) == READ_OF_A_MODEL


def test_nothing_is_kept_where_the_workers_are_other_processes(ollama: Stage, settings: Any) -> None:
    settings.REDIS_URL = "redis://elsewhere"
    operation = ollama.ask("load", SMALL)
    assert statements(lambda: expected.expected(operation)) == READ_OF_A_MODEL


def test_what_no_worker_takes_does_not_pile_up(ollama: Stage, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.REDIS_URL = ""  # the worker is of this process
    monkeypatch.setattr(expected, "FRESH_SECONDS", 60)
    monkeypatch.setattr(expected, "MOST_KEPT", 1)
    expected._kept.clear()
    first, _ = ollama.ask("load", SMALL), ollama.ask("load", MIDDLE)
    assert statements(lambda: expected.expected(first)) == READ_OF_A_MODEL
