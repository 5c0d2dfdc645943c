"""Each statement costs about a millisecond of the time between a click and the load: these numbers only fall."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Endpoint
from models_app.operations import expected, records
from tests.operations.conftest import SMALL, Stage

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


def test_a_worker_reads_what_is_known_of_the_model(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    assert statements(lambda: expected.expected(operation)) == READ_OF_A_MODEL


def test_a_worker_that_an_operation_is_handed_to_only_takes_it(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    assert statements(lambda: records.take(operation.pk, operation)) == 1 + EVENT
