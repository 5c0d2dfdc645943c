"""What is refused before anything happens, and with which code."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation
from models_app.operations.requests import RequestRefused, request_cancel, set_pinned
from tests.operations.conftest import LARGE, MIDDLE, SMALL, Stage

REGISTRY = "registry.example.org/library/model:1b"


def refusal(stage: Stage, kind: str, model: str, options: LoadOptions | None = None, **more: Any) -> RequestRefused:
    before = Operation.objects.count()
    with pytest.raises(RequestRefused) as refused:
        stage.ask(kind, model, options, **more)
    assert Operation.objects.count() == before
    return refused.value


@pytest.mark.parametrize("name", ["../etc/passwd", "a\0b", "x" * 300, "", " ", "a b", "/abs"])
def test_an_impossible_name_is_refused(ollama: Stage, name: str) -> None:
    assert refusal(ollama, "load", name).code == "invalid_model_name"


def test_a_pull_from_another_registry_is_refused(ollama: Stage) -> None:
    assert refusal(ollama, "pull", REGISTRY).code == "invalid_model_name"


def test_an_unknown_model_is_refused(ollama: Stage) -> None:
    assert refusal(ollama, "load", "nobody:1b").code == "unknown_model"


def test_an_unknown_gpu_is_refused(ollama: Stage) -> None:
    assert refusal(ollama, "load", SMALL, LoadOptions(gpu="GPU-none")).code == "unknown_gpu"


def test_an_option_that_the_endpoint_cannot_honour_is_named(ollama: Stage) -> None:
    refused = refusal(ollama, "load", SMALL, LoadOptions(cache_type_k="q8_0"))
    assert (refused.code, refused.field, refused.status) == ("unsupported_option", "cache_type_k", 422)


def test_a_context_above_the_training_context_is_refused(ollama: Stage) -> None:
    refused = refusal(ollama, "load", SMALL, LoadOptions(context_length=200_000))
    assert (refused.code, refused.field) == ("invalid_option", "context_length")


def test_layers_beyond_the_model_are_refused(ollama: Stage) -> None:
    refused = refusal(ollama, "load", SMALL, LoadOptions(gpu_layers=99))
    assert (refused.code, refused.field) == ("invalid_option", "gpu_layers")


def test_a_call_that_the_endpoint_does_not_offer_is_refused(router: Stage) -> None:
    assert refusal(router, "set_keep_alive", "bge-m3-f16").code == "capability_missing"


def test_an_endpoint_that_is_not_online_is_refused(ollama: Stage) -> None:
    Endpoint.objects.update(state=Endpoint.State.UNREACHABLE, state_message="Connection refused.")
    ollama.endpoint.refresh_from_db()
    refused = refusal(ollama, "load", SMALL)
    assert (refused.code, refused.status) == ("endpoint_offline", 409)
    assert "Connection refused." in refused.message


def test_what_does_not_fit_is_refused_with_the_reckoning_until_it_is_loaded_anyway(ollama: Stage) -> None:
    refused = refusal(ollama, "load", LARGE, LoadOptions(context_length=32_768))
    assert (refused.code, refused.status) == ("does_not_fit", 409)
    assert refused.preview is not None
    assert refused.preview.shortfall_bytes > 0
    operation = ollama.ask("load", LARGE, LoadOptions(context_length=32_768), load_anyway=True)
    assert operation.load_anyway


def test_what_is_loaded_already_is_not_loaded_again(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192))
    refused = refusal(ollama, "load", SMALL, LoadOptions(context_length=8192))
    assert (refused.code, refused.status) == ("already_loaded", 409)
    assert refused.loaded == ollama.loaded(SMALL)


def test_other_options_need_the_word_reload(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192))
    refused = refusal(ollama, "load", SMALL, LoadOptions(context_length=4096))
    assert refused.code == "loaded_with_other_options"
    operation = ollama.done("load", SMALL, LoadOptions(context_length=4096), reload=True)
    assert [step.action for step in operation.steps.all()] == ["unload", "load"]
    assert ollama.loaded(SMALL).context_length == 4096


def test_a_model_of_another_client_is_said_to_be_so(ollama: Stage) -> None:
    ollama.thread.run(ollama.server.preload(SMALL, num_ctx=2048))
    ollama.look()
    refused = refusal(ollama, "load", SMALL, LoadOptions(context_length=4096))
    assert "another client" in refused.message
    assert refusal(ollama, "set_keep_alive", SMALL, LoadOptions(keep_alive_seconds=60)).code == "foreign_model"
    with pytest.raises(RequestRefused) as refused_pin:
        set_pinned(ollama.admin, ollama.endpoint, SMALL, True)
    assert refused_pin.value.code == "foreign_model"


def test_an_unload_of_what_is_not_loaded_is_refused(ollama: Stage) -> None:
    assert refusal(ollama, "unload", SMALL).code == "not_loaded"


def test_a_new_keep_alive_refuses_what_it_would_not_change(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    pinned = LoadOptions(keep_alive_seconds=60, pinned=True)
    refused = refusal(ollama, "set_keep_alive", SMALL, pinned)
    assert (refused.code, refused.field) == ("unsupported_option", "pinned")
    ollama.done("set_keep_alive", SMALL, pinned, reload=True)


def test_a_pinned_model_is_unloaded_only_when_confirmed(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    set_pinned(ollama.admin, ollama.endpoint, SMALL, True)
    assert refusal(ollama, "unload", SMALL).code == "pinned"
    ollama.done("unload", SMALL, confirmed=True)
    assert ollama.server.loaded == []


def test_a_loaded_model_is_deleted_only_when_confirmed(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    assert refusal(ollama, "delete", SMALL).code == "model_in_use"
    ollama.done("delete", SMALL, confirmed=True)
    assert SMALL not in ollama.server.models
    assert ollama.used_bytes() == 0


def test_a_swap_names_models_that_are_loaded(ollama: Stage) -> None:
    assert refusal(ollama, "swap", SMALL, unload=(987,)).code == "unknown_loaded_model"
    assert refusal(ollama, "swap", SMALL).code == "unknown_loaded_model"


def test_the_second_of_two_requests_for_one_model_is_told_of_the_first(ollama: Stage) -> None:
    first = ollama.ask("load", SMALL)
    refused = refusal(ollama, "load", SMALL, actor=ollama.other_admin)
    assert (refused.code, refused.status, refused.operation) == ("target_busy", 409, first)


def test_of_two_admins_at_once_one_gets_an_operation(ollama: Stage) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def ask() -> None:
        start.wait()
        try:
            ollama.ask("load", SMALL)
            outcomes.append("operation")
        except RequestRefused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["operation", "target_busy"]


def test_the_same_key_returns_the_first_operation_even_when_it_has_ended(ollama: Stage) -> None:
    first = ollama.done("load", SMALL, idempotency_key="k1")
    assert ollama.ask("load", SMALL, idempotency_key="k1") == first
    assert Operation.objects.count() == 1


def test_the_same_key_with_another_request_is_a_conflict(ollama: Stage) -> None:
    ollama.ask("load", SMALL, idempotency_key="k1")
    assert refusal(ollama, "load", MIDDLE, idempotency_key="k1").code == "idempotency_conflict"


def test_a_queued_operation_is_cancelled_at_once(ollama: Stage) -> None:
    operation = request_cancel(ollama.admin, ollama.ask("load", SMALL))
    assert operation.state == "cancelled"
    assert ollama.work(operation).state == "cancelled"
    assert ollama.server.scheduler.loads == 0


def test_what_has_ended_cannot_be_cancelled(ollama: Stage) -> None:
    operation = ollama.done("load", SMALL)
    with pytest.raises(RequestRefused) as refused:
        request_cancel(ollama.admin, operation)
    assert refused.value.code == "already_ended"
