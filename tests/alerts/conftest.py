"""A stage on which alerts happen: a simulated server whose processes are known, and a clock that can be turned forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import time_machine
from django.test import Client

from models_app.alerts.evaluator import Evaluator
from models_app.alerts.models import Alert
from models_app.telemetry import sources
from models_app.telemetry.collector import record_sample
from tests.operations.conftest import (
    Stage,
    admin_user,
    host,
    machine,
    make_stage,
    ollama,
    router,
    thread,
)

__all__ = ["admin_user", "host", "machine", "make_stage", "ollama", "router", "thread"]


@dataclass
class Theatre:
    """A stage, the evaluator that watches it, and the clock of both."""

    stage: Stage
    clock: time_machine.Traveller
    admin: Client
    evaluator: Evaluator = field(default_factory=Evaluator)

    def see(self, *seconds: float) -> set[str]:
        """Let these seconds pass, each followed by a look, a sample and an evaluation; the rules with an open alert."""
        for each in seconds or (0,):
            self.clock.shift(each)
            self.stage.look()
            record_sample(self.stage.endpoint.host, self.stage.machine.sample())
            self.evaluator.evaluate()
        return set(Alert.objects.filter(state="open").values_list("rule", flat=True))

    def alert(self, rule: str) -> Alert:
        return Alert.objects.get(rule=rule, state="open")

    def load(self, model: str, **options: int) -> None:
        """Another client loads a model and keeps it for ever."""
        self.stage.thread.run(self.stage.server.preload(model, **options))

    def unload(self, model: str) -> None:
        """Another client unloads a model; what it takes to be gone follows by itself."""

        async def unload() -> None:
            server = self.stage.server
            runner = next(each for each in server.scheduler.runners if each.model.name == model)
            server.scheduler.unload(runner.model)
            await gone(server, runner)

        self.stage.thread.run(unload())

    def press(self, alert: Alert, **more: str) -> int:
        """Press the proposed button; the status of the answer."""
        page, fields = alert.action["page"], alert.action["fields"]
        address = f"/operations/{fields['operation_id']}/cancel/" if page == "operation_cancel" else f"/{page}/"
        return self.admin.post(address, fields | more).status_code


async def gone(server, runner) -> None:
    """Until the runner has left, unless it is stuck."""
    if "stuck_stopping" not in server.faults.active():
        await runner.gone.wait()


@pytest.fixture
def theatre(ollama: Stage, admin_user) -> Iterator[Theatre]:
    sources.register_pids(ollama.endpoint.pk, ollama.server.pids, ollama.server.model_pids)
    browser = Client()
    browser.force_login(admin_user)
    with time_machine.travel(datetime.now(UTC), tick=True) as traveller:
        yield Theatre(ollama, traveller, browser)
