"""An apply is one operation with a graph of loads and unloads, each of them measured before the next begins."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.accounts.models import AuditEntry
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Residency
from models_app.operations import apply
from models_app.operations.advance import _begin as begin
from models_app.operations.advance import _claim as claim
from models_app.operations.advance import advance, advance_for
from models_app.operations.apply import StepRequest, request_apply
from models_app.operations.follow import request_resume, request_roll_back
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import request_cancel
from models_app.simulation.devices import GIB
from models_app.simulation.faults import Fault
from tests.operations.applies import work
from tests.operations.conftest import EMBEDDING, LARGE, MIDDLE, SMALL, Stage, log_of

Kind = Operation.Kind


def load(stage: Stage, model: str, *after: int, **options: Any) -> StepRequest:
    return StepRequest(Kind.LOAD, stage.endpoint, model, LoadOptions(**options), after)


def unload(stage: Stage, model: str, *after: int) -> StepRequest:
    return StepRequest(Kind.UNLOAD, stage.endpoint, model, after=after)


def ask(stage: Stage, *steps: StepRequest) -> Operation:
    return request_apply(stage.admin, "evening", steps)


def states(operation: Operation) -> list[str]:
    return list(operation.apply_steps.values_list("state", flat=True))


def test_the_steps_of_an_apply_are_operations_that_run_in_their_order(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    operation = work(ollama, ask(ollama, unload(ollama, SMALL), load(ollama, MIDDLE, 0, keep_alive_seconds=-1)))
    assert operation.state == "succeeded", log_of(operation)
    assert ollama.server.loaded == [MIDDLE]
    first, second = operation.apply_steps.all()
    assert (first.kind, first.state, second.kind, second.state) == ("unload", "done", "load", "done")
    assert second.verified_by == "gpu"
    assert second.moved_bytes > 4 * GIB
    assert second.seconds is not None
    assert first.part.finished_at <= second.part.started_at
    assert Residency.objects.get().options == {"keep_alive_seconds": -1}


def test_steps_that_may_change_the_same_gpu_never_run_at_once(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL), load(ollama, EMBEDDING))
    advance(operation.pk)
    advance(operation.pk)
    assert states(operation) == ["running", "pending"]
    assert Operation.objects.filter(kind="load").count() == 1
    assert states(work(ollama, operation)) == ["done", "done"]


def test_two_workers_that_begin_a_step_make_one_operation_of_it(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL))
    (mine,), (theirs,) = claim(operation.pk), claim(operation.pk)
    begin(mine)
    begin(theirs)
    assert Operation.objects.filter(kind="load").count() == 1
    assert AuditEntry.objects.filter(action="operation.load").count() == 1
    assert claim(operation.pk) == []


def test_a_step_that_was_cancelled_before_it_began_does_not_begin(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL))
    (step,) = claim(operation.pk)
    request_cancel(ollama.admin, operation)
    advance(operation.pk)
    begin(step)
    operation.refresh_from_db()
    assert (operation.state, states(operation)) == ("cancelled", ["pending"])
    assert not Operation.objects.filter(kind="load").exists()


def test_what_is_so_already_needs_no_step(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    operation = work(ollama, ask(ollama, load(ollama, SMALL), unload(ollama, MIDDLE), load(ollama, EMBEDDING)))
    assert operation.state == "succeeded"
    assert states(operation) == ["skipped", "skipped", "done"]


def test_a_failure_stops_what_has_not_begun_and_undoes_nothing(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    operation = ask(ollama, unload(ollama, SMALL), load(ollama, MIDDLE, 0), load(ollama, EMBEDDING, 1))
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    operation = work(ollama, operation)
    assert (operation.state, operation.error_code) == ("failed", "out_of_memory")
    assert states(operation) == ["done", "failed", "pending"]
    assert operation.error_message.startswith(f"Step 2, load {MIDDLE} on {ollama.endpoint.name}: ")
    assert operation.error_message.endswith("One step has not begun.")
    assert ollama.server.loaded == []
    assert not operation.targets.filter(active=True).exists()


def test_a_load_that_no_longer_fits_says_so_in_numbers(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL), load(ollama, LARGE, 0))
    ollama.machine.allocate(ollama.machine.spawn("game"), 0, 12 * GIB)
    operation = work(ollama, operation)
    assert (operation.state, operation.error_code) == ("failed", "does_not_fit")
    assert "are missing" in operation.error_message
    assert "GiB" in operation.error_message


def test_resuming_does_what_is_left(ollama: Stage) -> None:
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    failed = work(ollama, ask(ollama, load(ollama, MIDDLE), load(ollama, EMBEDDING, 0)))
    assert failed.state == "failed"
    resumed = work(ollama, request_resume(ollama.admin, failed))
    assert (resumed.state, states(resumed)) == ("succeeded", ["done", "done"])
    assert resumed.follows == failed
    assert sorted(ollama.server.loaded) == [MIDDLE, EMBEDDING]


def test_resuming_keeps_what_stands_and_repeats_what_a_restarted_server_has_lost(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL), load(ollama, MIDDLE, 0), load(ollama, EMBEDDING, 1))
    advance(operation.pk)
    for _ in range(2):
        part = ollama.work(Operation.objects.get(part_of__operation=operation, state="queued"))
        if part.model_name == MIDDLE:
            ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
        advance_for(part.pk)
    operation = work(ollama, operation)
    assert states(operation) == ["done", "done", "failed"]
    ollama.thread.run(_evict(ollama, SMALL))
    ollama.look()
    resumed = request_resume(ollama.admin, operation)
    assert states(resumed) == ["pending", "done", "pending"]
    assert work(ollama, resumed).state == "succeeded"
    assert sorted(ollama.server.loaded) == [MIDDLE, SMALL, EMBEDDING]
    loads = Operation.objects.filter(kind="load", state="succeeded").values_list("model_name", flat=True)
    assert sorted(loads) == [MIDDLE, SMALL, SMALL, EMBEDDING]


async def _evict(stage: Stage, model: str) -> None:
    runner = next(runner for runner in stage.server.scheduler.runners if runner.model.name == model)
    stage.server.scheduler.unload(runner.model)
    await runner.gone.wait()


def test_rolling_back_undoes_the_last_first_with_the_old_options(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192, keep_alive_seconds=3600))
    steps = (unload(ollama, SMALL), load(ollama, MIDDLE, 0), load(ollama, EMBEDDING, 1))
    operation = work(ollama, ask(ollama, *steps))
    back = work(ollama, request_roll_back(ollama.admin, operation))
    assert back.state == "succeeded", log_of(back)
    assert [f"{step.kind} {step.model_name}" for step in back.apply_steps.all()] == [
        f"unload {EMBEDDING}",
        f"unload {MIDDLE}",
        f"load {SMALL}",
    ]
    assert [step.after for step in back.apply_steps.all()] == [[], [0], [0, 1]]
    assert ollama.server.loaded == [SMALL]
    assert Residency.objects.get().options == {"context_length": 8192, "keep_alive_seconds": 3600}


def test_rolling_back_a_resumed_apply_undoes_both(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    ask_first = ask(ollama, unload(ollama, SMALL), load(ollama, MIDDLE, 0))
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    resumed = work(ollama, request_resume(ollama.admin, work(ollama, ask_first)))
    assert resumed.state == "succeeded"
    assert work(ollama, request_roll_back(ollama.admin, resumed)).state == "succeeded"
    assert ollama.server.loaded == [SMALL]


def test_an_apply_is_followed_once(ollama: Stage) -> None:
    ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    operation = work(ollama, ask(ollama, load(ollama, SMALL)))
    follower = work(ollama, request_resume(ollama.admin, operation))
    with pytest.raises(RequestRefused) as refused:
        request_roll_back(ollama.admin, operation)
    assert (refused.value.code, refused.value.operation) == ("already_followed", follower)


def test_what_changed_nothing_cannot_be_rolled_back(ollama: Stage) -> None:
    operation = work(ollama, ask(ollama, unload(ollama, SMALL)))
    with pytest.raises(RequestRefused, match="changed nothing"):
        request_roll_back(ollama.admin, operation)
    with pytest.raises(RequestRefused, match="nothing to resume"):
        request_resume(ollama.admin, operation)


def test_cancelling_ends_what_runs_and_begins_nothing_more(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL), load(ollama, MIDDLE, 0))
    advance(operation.pk)
    request_cancel(ollama.admin, operation)
    operation = work(ollama, operation)
    assert (operation.state, operation.error_message) == ("cancelled", "Cancelled. One step has not begun.")
    assert states(operation) == ["failed", "pending"]
    assert ollama.server.loaded == []


def test_a_queued_apply_is_cancelled_at_once(ollama: Stage) -> None:
    operation = request_cancel(ollama.admin, ask(ollama, load(ollama, SMALL)))
    assert operation.state == "cancelled"
    advance(operation.pk)
    assert not Operation.objects.filter(kind="load").exists()


def test_one_apply_runs_at_a_time(ollama: Stage) -> None:
    first = ask(ollama, load(ollama, SMALL))
    with pytest.raises(RequestRefused) as refused:
        ask(ollama, load(ollama, MIDDLE))
    assert (refused.value.code, refused.value.operation) == ("apply_running", first)


def test_of_two_that_ask_in_the_same_moment_the_database_takes_one(ollama: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has looked before the first was written down."""
    first = ask(ollama, load(ollama, SMALL))
    look, answers = apply._in_the_way, iter([None])
    monkeypatch.setattr(apply, "_in_the_way", lambda keys: next(answers, look(keys)))
    with pytest.raises(RequestRefused) as refused:
        ask(ollama, load(ollama, MIDDLE))
    assert (refused.value.code, refused.value.operation) == ("apply_running", first)
    assert Operation.objects.filter(kind="apply").count() == 1


def test_an_apply_holds_its_models_until_it_has_ended(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL), load(ollama, MIDDLE, 0))
    advance(operation.pk)
    with pytest.raises(RequestRefused) as refused:
        ollama.ask("load", MIDDLE)
    assert (refused.value.code, refused.value.operation) == ("target_busy", operation)
    work(ollama, operation)
    assert ollama.ask("unload", MIDDLE)


def test_a_model_that_another_operation_holds_refuses_the_apply(ollama: Stage) -> None:
    holder = ollama.ask("load", SMALL)
    with pytest.raises(RequestRefused) as refused:
        ask(ollama, load(ollama, SMALL))
    assert (refused.value.code, refused.value.operation) == ("target_busy", holder)


def test_the_same_key_with_the_same_steps_is_the_same_apply(ollama: Stage) -> None:
    steps = [load(ollama, SMALL)]
    first = request_apply(ollama.admin, "evening", steps, idempotency_key="k")
    assert request_apply(ollama.admin, "evening", steps, idempotency_key="k") == first
    with pytest.raises(RequestRefused, match="another request"):
        request_apply(ollama.admin, "evening", [load(ollama, MIDDLE)], idempotency_key="k")


def test_steps_without_sense_are_refused(ollama: Stage) -> None:
    for steps in ((), (load(ollama, SMALL, 0),), (StepRequest(Kind.PULL, ollama.endpoint, SMALL),)):
        with pytest.raises(RequestRefused) as refused:
            ask(ollama, *steps)
        assert refused.value.code == "invalid_steps"
    with pytest.raises(RequestRefused, match="no model"):
        ask(ollama, load(ollama, "unheard-of"))
    with pytest.raises(RequestRefused, match="cannot honour"):
        ask(ollama, load(ollama, SMALL, cache_type_k="q8_0"))


def test_a_pinned_model_is_unloaded_only_when_confirmed(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(pinned=True))
    with pytest.raises(RequestRefused, match="pinned"):
        ask(ollama, unload(ollama, SMALL))
    operation = request_apply(ollama.admin, "evening", [unload(ollama, SMALL)], confirmed=True)
    assert work(ollama, operation).state == "succeeded"


def test_an_apply_tells_its_story_and_leaves_a_trail(ollama: Stage) -> None:
    operation = work(ollama, ask(ollama, load(ollama, SMALL)))
    asked, loaded = log_of(operation)
    assert asked == "Asked for by ada: 1 step."
    assert loaded.startswith(f"Load {SMALL} on {ollama.endpoint.name}: done, ")
    entry = AuditEntry.objects.get(action="operation.apply")
    assert entry.detail["steps"] == [f"load {SMALL} on {ollama.endpoint.name}"]


def test_an_apply_is_no_single_request(ollama: Stage) -> None:
    with pytest.raises(RequestRefused, match="applying a plan"):
        ollama.ask("apply", SMALL)


def test_a_worker_told_of_an_apply_goes_on_with_it_and_takes_no_lease(ollama: Stage) -> None:
    operation = ask(ollama, load(ollama, SMALL))
    assert ollama.work(operation).state == "queued"


def test_the_reconciler_tells_a_worker_of_an_apply_that_stands_still(ollama: Stage, monkeypatch: Any) -> None:
    told: list[int] = []
    monkeypatch.setattr("models_app.operations.reconciler.enqueue", told.append)
    operation = ask(ollama, load(ollama, SMALL))
    advance(operation.pk)
    part = Operation.objects.get(part_of__operation=operation)
    Operation.objects.update(enqueued_at=None)
    ollama.reconciler.tick_now()
    assert sorted(told) == [operation.pk, part.pk]
