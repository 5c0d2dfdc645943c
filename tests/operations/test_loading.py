"""A load is done when the endpoint lists the model and the memory has risen."""

from __future__ import annotations

from models_app.accounts.models import AuditEntry
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Residency
from models_app.operations.reservations import Reservation
from models_app.telemetry import sources
from tests.operations.conftest import EMBEDDING, MIDDLE, SMALL, Stage, log_of

GIB = 1024**3


def test_a_load_succeeds_when_the_memory_has_risen(ollama: Stage) -> None:
    operation = ollama.done("load", SMALL, LoadOptions(context_length=8192))
    assert ollama.server.loaded == [SMALL]
    assert operation.verified_by == "gpu"
    assert operation.before_bytes == 0
    assert operation.after_bytes == ollama.used_bytes() > 2 * GIB


def test_a_load_is_verified_by_the_models_own_process_where_the_driver_shows_it(ollama: Stage) -> None:
    scheduler = ollama.server.scheduler
    sources.register_pids(
        ollama.endpoint.pk, ollama.server.pids, lambda: {r.model.name: [r.pid] for r in scheduler.runners}
    )
    operation = ollama.done("load", SMALL, LoadOptions(context_length=8192))
    assert operation.verified_by == "process"
    assert operation.result["moved_bytes"] == ollama.used_bytes()


def test_a_load_remembers_who_asked_for_it_and_with_which_options(ollama: Stage) -> None:
    operation = ollama.done("load", SMALL, LoadOptions(context_length=8192, pinned=True))
    residency = Residency.objects.get()
    assert (residency.name, residency.requested_by, residency.pinned) == (SMALL, "ada", True)
    assert residency.options == {"context_length": 8192, "pinned": True, "keep_alive_seconds": -1}
    assert residency.operation_id == operation.pk


def test_the_bytes_that_rose_are_attributed_to_the_model(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    loaded = ollama.loaded(SMALL)
    assert loaded.attributed_by == "gpu"
    assert sum(loaded.gpu_bytes.values()) == ollama.used_bytes()


def test_a_load_tells_its_story_and_leaves_an_audit_entry(ollama: Stage) -> None:
    operation = ollama.done("load", SMALL)
    assert [line.split()[0] for line in log_of(operation)] == ["Asked", "Fits:", "Loading", SMALL]
    entry = AuditEntry.objects.get(action="operation.load")
    assert entry.detail["model"] == SMALL


def test_reservations_go_when_the_result_has_been_measured(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    assert not Reservation.objects.exists()


def test_an_embedding_model_loads_and_unloads(ollama: Stage) -> None:
    ollama.done("load", EMBEDDING)
    assert ollama.server.loaded == [EMBEDDING]
    ollama.done("unload", EMBEDDING)
    assert ollama.server.loaded == []
    assert ollama.used_bytes() == 0


def test_a_router_loads_and_unloads(router: Stage) -> None:
    router.done("load", "llama-3.1-8b-instruct-q8_0")
    assert router.server.loaded == ["llama-3.1-8b-instruct-q8_0"]
    operation = router.done("unload", "llama-3.1-8b-instruct-q8_0")
    assert router.server.loaded == []
    assert operation.verified_by == "gpu"


def test_a_second_load_of_another_model_is_measured_by_its_own_rise(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    before_bytes = ollama.used_bytes()
    operation = ollama.done("load", MIDDLE)
    assert operation.result["moved_bytes"] == ollama.used_bytes() - before_bytes
