"""A plan on a real llama-server: applied and verified, its server killed in the middle, resumed on the one that follows."""

from __future__ import annotations

import asyncio

import pytest

from models_app.inventory.models import Endpoint, Host
from models_app.inventory.refresh import refresh_installed
from models_app.operations.advance import advance, advance_for
from models_app.operations.follow import request_resume, request_roll_back
from models_app.operations.models import Operation
from models_app.plans.applying import active_plan, apply_plan
from models_app.plans.drift import drift
from models_app.telemetry import sources
from models_app.telemetry.collector import record_sample
from tests.fixtures.real_servers import RealServer, StartServer
from tests.operations.conftest import Stage
from tests.operations.test_real_router import (  # noqa: F401 - fixtures
    BIG,
    TINY,
    ResidentMemory,
    probe,
    real_host,
    real_router,
)
from tests.plans.conftest import Planner
from tests.tools.model_cache import FOLDER

pytestmark = pytest.mark.real


class RealPlanner(Planner):
    """The same on a server whose resident memory stands in for a GPU's."""

    def look(self) -> None:
        self.stage.look()
        host = self.stage.endpoint.host
        record_sample(host, sources.sample_now(host))  # type: ignore[arg-type]


@pytest.fixture
def real_planner(real_router: Stage) -> RealPlanner:  # noqa: F811 - the fixture of that name
    host = real_router.endpoint.host
    Host.objects.filter(pk=host.pk).update(is_local=True)  # so that the model files are read, and their sizes known
    host.refresh_from_db()
    asyncio.run(refresh_installed(real_router.endpoint))
    planner = RealPlanner(real_router)
    planner.demand("big", BIG, context_length=512)
    planner.demand("tiny", TINY, context_length=512)
    return planner


def loaded(planner: Planner) -> list[str]:
    planner.look()
    return sorted(planner.stage.endpoint.loaded_models.values_list("name", flat=True))


def test_a_real_plan_is_applied_broken_resumed_and_rolled_back(
    real_planner: RealPlanner,
    probe: ResidentMemory,  # noqa: F811 - the fixture of that name
    router_server: RealServer,
    start_llama_server: StartServer,
) -> None:
    plan = apply_plan(real_planner.stage.admin, real_planner.solved(), confirmed=True)
    assert plan.operation, (plan.unmet, plan.notes, plan.steps)
    advance(plan.operation.pk)
    first = Operation.objects.get(part_of__operation=plan.operation, state="queued")
    assert real_planner.stage.work(first).verified_by == "gpu"

    router_server.process.kill()
    router_server.process.wait()
    advance_for(first.pk)
    failed = real_planner.finished(plan.operation)
    assert failed.state == "failed"
    assert [step.state for step in failed.apply_steps.all()] == ["done", "failed"]

    probe.server = start_llama_server("--models-dir", str(FOLDER), "--models-max", "4")
    Endpoint.objects.filter(pk=real_planner.stage.endpoint.pk).update(url=probe.server.url)
    real_planner.stage.endpoint.refresh_from_db()
    assert loaded(real_planner) == []
    resumed = real_planner.finished(request_resume(real_planner.stage.admin, failed))
    assert resumed.state == "succeeded", resumed.error_message
    assert loaded(real_planner) == sorted([BIG, TINY])
    plan = real_planner.settled(plan)
    assert active_plan() == plan
    assert drift(plan) == ()

    back = real_planner.finished(request_roll_back(real_planner.stage.admin, resumed))
    assert back.state == "succeeded", back.error_message
    assert loaded(real_planner) == []
