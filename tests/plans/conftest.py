"""Plans on a live stage: simulated servers, rows that describe them, and samples as fresh as a plan wants them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from models_app.operations.models import Operation
from models_app.plans.applying import apply_plan, settle
from models_app.plans.models import Plan
from models_app.plans.requests import request_plan, save_demand
from models_app.plans.solving import solve_plan
from models_app.telemetry.collector import record_sample
from tests.operations.applies import work
from tests.operations.conftest import (  # noqa: F401 - fixtures
    Stage,
    admin_user,
    host,
    machine,
    make_stage,
    ollama,
    router,
    thread,
)


@dataclass
class Planner:
    """Asks for demands and plans on a stage, and makes them real."""

    stage: Stage

    def look(self) -> None:
        """What the background does: observe the endpoint, sample the host."""
        self.stage.look()
        record_sample(self.stage.endpoint.host, self.stage.machine.sample())

    def demand(self, name: str, model: str, **more: Any) -> None:
        save_demand(self.stage.admin, {"name": name, "model": model, "context_length": 4096, **more})

    def solved(self, name: str = "evening") -> Plan:
        """A plan for all demands as the fleet is now."""
        self.look()
        plan = request_plan(self.stage.admin, name=name)
        solve_plan(plan.pk)
        plan.refresh_from_db()
        assert plan.state == "draft", plan.error_message
        return plan

    def applied(self, plan: Plan, **more: Any) -> Plan:
        """The plan once it has been applied, and the rhythm has noticed."""
        self.look()
        plan = apply_plan(self.stage.admin, plan, confirmed=True, **more)
        if plan.operation:
            operation = self.finished(plan.operation)
            assert operation.state == "succeeded", operation.error_message
        return self.settled(plan)

    def finished(self, operation: Operation) -> Operation:
        return work(self.stage, operation)

    def settled(self, plan: Plan) -> Plan:
        settle()
        plan.refresh_from_db()
        return plan

    def work_off(self) -> None:
        """Everything that waits in the queue."""
        for operation in Operation.objects.filter(state="queued").order_by("pk"):
            self.stage.work(operation)
        self.look()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample stays fresh however slow the machine is that a plan is solved on between a look and the next."""
    monkeypatch.setattr("models_app.telemetry.latest.STALE_AFTER", timedelta(minutes=10))


@pytest.fixture
def planner(ollama: Stage) -> Planner:  # noqa: F811 - the fixture of that name
    return Planner(ollama)
