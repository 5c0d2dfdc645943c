"""A plan is held against reality, then made real by one operation; the plan that has succeeded is the active one."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.inventory.models import Endpoint, Gpu
from models_app.operations.follow import request_resume, request_roll_back
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.plans.applying import active_plan, apply_plan, settle
from models_app.plans.models import Plan
from models_app.plans.outages import outages, total_seconds
from models_app.simulation.devices import GIB
from models_app.simulation.faults import Fault
from tests.operations.conftest import EMBEDDING, LARGE, MIDDLE, SMALL
from tests.plans.conftest import Planner


def refusal(planner: Planner, plan: Plan, **more: bool) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        apply_plan(planner.stage.admin, plan, **more)
    return refused.value


def test_applying_a_plan_loads_what_it_wants_where_it_wants_it(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    planner.demand("search", EMBEDDING, context_length=2048)
    plan = planner.applied(planner.solved())
    assert sorted(planner.stage.server.loaded) == [MIDDLE, EMBEDDING]
    assert (plan.state, plan.applied_at is not None) == ("applied", True)
    assert active_plan() == plan
    runner = next(runner for runner in planner.stage.server.scheduler.runners if runner.model.name == MIDDLE)
    assert (runner.context, runner.keep_alive_seconds < 0) == (4096, True)


def test_what_is_so_already_needs_no_operation(planner: Planner) -> None:
    planner.demand("chat", SMALL)
    planner.applied(planner.solved())
    again = planner.applied(planner.solved("again"))
    assert (again.operation, again.state) == (None, "applied")
    first = Plan.objects.get(name="evening")
    assert (first.state, first.difference) == ("stale", ["again was applied after it."])


def test_what_would_be_unloaded_is_told_before_anything_is_touched(planner: Planner) -> None:
    planner.stage.done("load", MIDDLE)
    planner.demand("reason", LARGE)
    plan = planner.solved()
    refused = refusal(planner, plan)
    assert refused.code == "confirm_apply"
    assert f"{MIDDLE} leaves {planner.stage.endpoint.name} for good." in refused.message
    assert [outage.model for outage in outages(plan)] == [MIDDLE]
    assert total_seconds(plan) > 1
    assert planner.stage.server.loaded == [MIDDLE]


def test_a_plan_that_reality_has_left_behind_is_refused_with_the_difference(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    planner.stage.done("load", SMALL)
    planner.look()
    refused = refusal(planner, plan)
    plan.refresh_from_db()
    assert (refused.code, plan.state) == ("plan_stale", "stale")
    assert f"{SMALL} is now loaded on {planner.stage.endpoint.name}." in refused.message
    assert plan.difference


def test_a_stale_plan_can_be_applied_once_reality_is_as_it_was(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    planner.stage.done("load", SMALL)
    planner.look()
    refusal(planner, plan)
    planner.stage.done("unload", SMALL)
    plan.refresh_from_db()
    assert planner.applied(plan).state == "applied"


def test_a_gpu_that_has_gone_since_refuses_the_plan(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    planner.stage.machine.gpus.clear()
    planner.look()
    refused = refusal(planner, plan)
    assert refused.code == "plan_stale"
    assert "GPU 0 of testbed is gone." in refused.message


def test_a_gpu_that_has_gone_says_nothing_more_of_the_models_that_it_held(planner: Planner) -> None:
    planner.stage.done("load", SMALL)
    planner.look()
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    planner.stage.machine.gpus.clear()
    planner.look()
    message = refusal(planner, plan).message
    assert "GPU 0 of testbed is gone." in message
    assert SMALL not in message


def test_a_gpu_that_goes_while_the_plan_is_applied_stops_it_with_the_reason(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    plan = apply_plan(planner.stage.admin, plan, confirmed=True)
    Gpu.objects.update(present=False)
    Endpoint.objects.update(state=Endpoint.State.UNREACHABLE, state_message="connection refused")
    operation = planner.finished(plan.operation)
    assert (operation.state, operation.error_code) == ("failed", "endpoint_offline")
    assert "connection refused" in operation.error_message
    assert planner.settled(plan).state == "draft"


def test_another_program_that_has_taken_the_memory_refuses_the_plan(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    planner.stage.machine.allocate(planner.stage.machine.spawn("game"), 0, 10 * GIB)
    planner.look()
    assert "Other programs use 10.0 GiB more" in refusal(planner, plan).message


def test_a_what_if_is_never_applied(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    Plan.objects.filter(pk=plan.pk).update(changes={"removed_gpus": ["GPU-1"]})
    plan.refresh_from_db()
    assert refusal(planner, plan).code == "plan_is_what_if"


def test_two_plans_are_not_applied_at_once(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    first, second = planner.solved(), planner.solved("other")
    apply_plan(planner.stage.admin, first, confirmed=True)
    assert refusal(planner, second, confirmed=True).code == "apply_running"
    first.refresh_from_db()
    assert refusal(planner, first, confirmed=True).code == "apply_running"
    assert Operation.objects.filter(kind="apply").count() == 1


def test_a_resumed_apply_makes_the_plan_active(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.solved()
    planner.stage.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
    plan = apply_plan(planner.stage.admin, plan, confirmed=True)
    failed = planner.finished(plan.operation)
    assert (failed.state, planner.settled(plan).state) == ("failed", "draft")
    resumed = planner.finished(request_resume(planner.stage.admin, failed))
    plan = planner.settled(plan)
    assert (plan.state, plan.operation) == ("applied", resumed)


def test_plans_whose_applies_have_failed_cost_nothing_afterwards(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)

    def fail() -> int:
        """The statements that it takes to follow all plans once one more apply has failed."""
        planner.stage.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
        planner.finished(apply_plan(planner.stage.admin, planner.solved(), confirmed=True).operation)
        with CaptureQueriesContext(connection) as asked:
            settle()
        return len(asked)

    assert fail() == fail() == 1


def test_a_plan_that_is_rolled_back_is_no_longer_active(planner: Planner) -> None:
    planner.demand("chat", MIDDLE)
    plan = planner.applied(planner.solved())
    planner.finished(request_roll_back(planner.stage.admin, plan.operation))
    plan = planner.settled(plan)
    assert (plan.state, plan.difference) == ("stale", ["It was rolled back."])
    assert planner.stage.server.loaded == []
    assert active_plan() is None
