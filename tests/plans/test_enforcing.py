"""What drifts from the active plan is told; where the plan is enforced it is put right, a few times."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import LoadedModel, Residency
from models_app.operations.models import Operation
from models_app.plans.corrections import Correction, EnforcementStop
from models_app.plans.drift import drift
from models_app.plans.enforcing import MOST_CORRECTIONS, REST, enforce, set_enforced
from models_app.plans.models import Plan
from tests.operations.conftest import EMBEDDING, MIDDLE, SMALL
from tests.plans.conftest import Planner


def active(planner: Planner, **more: Any) -> Plan:
    planner.demand("chat", MIDDLE)
    return planner.applied(planner.solved(), enforce=True, **more)


def evict(planner: Planner, model: str = MIDDLE) -> None:
    """Another client unloads it."""

    async def unload() -> None:
        runner = next(runner for runner in planner.stage.server.scheduler.runners if runner.model.name == model)
        planner.stage.server.scheduler.unload(runner.model)
        await runner.gone.wait()

    planner.stage.thread.run(unload())
    planner.look()


def correct(planner: Planner) -> None:
    enforce()
    planner.work_off()


def test_nothing_differs_right_after_an_apply(planner: Planner) -> None:
    plan = active(planner)
    assert drift(plan) == ()
    enforce()
    assert not Correction.objects.exists()


def test_a_model_that_someone_unloaded_is_told_with_the_time_and_comes_back(planner: Planner) -> None:
    plan = active(planner)
    evict(planner)
    (found,) = drift(plan)
    lost_at = Residency.objects.get().lost_at
    assert found.sentence == f"{MIDDLE} was unloaded from {planner.stage.endpoint.name} by someone at {lost_at:%H:%M}."
    correct(planner)
    assert planner.stage.server.loaded == [MIDDLE]
    assert drift(plan) == ()
    assert Correction.objects.get().reason == found.sentence
    assert AuditEntry.objects.filter(action="plan.correct").exists()
    runner = planner.stage.server.scheduler.runners[0]
    assert (runner.context, runner.keep_alive_seconds < 0) == (4096, True)


def test_without_enforcing_drift_is_only_told(planner: Planner) -> None:
    plan = active(planner)
    set_enforced(planner.stage.admin, plan, False)
    evict(planner)
    correct(planner)
    assert len(drift(plan)) == 1
    assert planner.stage.server.loaded == []


def test_a_keep_alive_that_a_client_overrode_is_restored_without_a_reload(planner: Planner) -> None:
    plan = active(planner)
    (runner,) = planner.stage.server.scheduler.runners
    planner.stage.thread.run(planner.stage.server.preload(MIDDLE, keep_alive_seconds=60, num_ctx=4096))
    planner.look()
    (found,) = drift(plan)
    assert "has overridden the keep-alive" in found.sentence
    correct(planner)
    assert drift(plan) == ()
    assert planner.stage.server.scheduler.runners == [runner]
    assert Operation.objects.latest("pk").kind == "set_keep_alive"


def test_one_unload_by_a_client_is_one_correction_however_often_it_is_looked_at(planner: Planner) -> None:
    """A client unloads by a keep-alive of 0: for a moment the model is listed as about to leave."""
    plan = active(planner)
    LoadedModel.objects.update(kept_forever=False, expires_at=timezone.now())
    assert drift(plan) == ()
    enforce()
    evict(planner)
    correct(planner)
    assert Correction.objects.count() == 1
    assert planner.stage.server.loaded == [MIDDLE]


def test_a_model_that_a_client_reloaded_otherwise_gets_all_its_options_back(planner: Planner) -> None:
    plan = active(planner)
    planner.stage.thread.run(planner.stage.server.preload(MIDDLE, num_ctx=2048))
    planner.look()
    (found,) = drift(plan)
    assert found.sentence.endswith("is loaded with another context length than planned.")
    correct(planner)
    assert planner.stage.server.scheduler.runners[0].context == 4096
    assert drift(plan) == ()


def test_what_an_admin_unloaded_is_told_and_left_alone(planner: Planner) -> None:
    plan = active(planner)
    planner.stage.done("unload", MIDDLE, confirmed=True)
    planner.look()
    (found,) = drift(plan)
    assert f"{MIDDLE} was unloaded from {planner.stage.endpoint.name} by ada at " in found.sentence
    correct(planner)
    assert planner.stage.server.loaded == []


def test_a_model_that_the_plan_does_not_have_is_told_and_left_alone(planner: Planner) -> None:
    plan = active(planner)
    planner.stage.thread.run(planner.stage.server.preload(EMBEDDING))
    planner.look()
    (found,) = drift(plan)
    assert f"{EMBEDDING} is loaded on {planner.stage.endpoint.name} by another client" in found.sentence
    correct(planner)
    assert sorted(planner.stage.server.loaded) == [MIDDLE, EMBEDDING]


def test_a_model_of_another_client_keeps_its_options(planner: Planner) -> None:
    planner.stage.thread.run(planner.stage.server.preload(SMALL, num_ctx=4096))
    planner.look()
    planner.demand("chat", SMALL)
    plan = planner.applied(planner.solved(), enforce=True)
    correct(planner)
    assert not Correction.objects.exists(), [each.sentence for each in drift(plan)]


def test_after_three_corrections_in_ten_minutes_it_stops_instead_of_fighting(planner: Planner) -> None:
    plan = active(planner)
    for _ in range(MOST_CORRECTIONS):
        evict(planner)
        correct(planner)
        assert planner.stage.server.loaded == [MIDDLE]
    evict(planner)
    correct(planner)
    assert planner.stage.server.loaded == []
    stop = EnforcementStop.objects.get()
    assert (stop.plan, stop.model_name) == (plan, MIDDLE)
    assert "3 times within 10 minutes" in stop.reason
    correct(planner)
    assert Correction.objects.count() == MOST_CORRECTIONS


def test_what_could_not_be_put_right_is_tried_again_after_a_rest(planner: Planner) -> None:
    active(planner)
    machine = planner.stage.machine
    evict(planner)
    game = machine.spawn("game")
    machine.allocate(game, 0, machine.free_bytes(0))
    planner.look()
    correct(planner)
    correct(planner)
    refused = Correction.objects.get()
    assert "cannot be put right" in refused.reason
    machine.end(game)
    planner.look()
    Correction.objects.update(at=timezone.now() - REST)
    correct(planner)
    assert planner.stage.server.loaded == [MIDDLE]


def test_an_admin_lets_it_go_on(planner: Planner) -> None:
    plan = active(planner)
    for _ in range(MOST_CORRECTIONS + 1):
        evict(planner)
        correct(planner)
    set_enforced(planner.stage.admin, plan, True)
    correct(planner)
    assert planner.stage.server.loaded == [MIDDLE]
    assert not EnforcementStop.objects.exists()


def test_a_model_at_work_is_not_corrected_meanwhile(planner: Planner) -> None:
    active(planner)
    evict(planner)
    planner.stage.ask("load", MIDDLE, LoadOptions(context_length=4096))
    enforce()
    assert not Correction.objects.exists()
