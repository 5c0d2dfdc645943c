"""A worker killed at any step leaves rows from which the next one goes on, without a second effect."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from models_app.agent import codec
from models_app.inventory.connect import backend_for
from models_app.inventory.models import Residency
from models_app.operations.apply import StepRequest, request_apply
from models_app.operations.models import Operation
from models_app.operations.options import stored_options
from models_app.operations.reservations import Reservation
from models_app.operations.tasks import run_operation
from models_app.simulation.asgi import Answer, Request, json_answer
from models_app.simulation.faults import Fault
from tests.operations.conftest import MIDDLE, SMALL, Stage

MOST_SEAMS = 200


class MortalWorker:
    """The process of ``mortal_worker.py``."""

    def __init__(self, stage: Stage) -> None:
        async def sample(_request: Request) -> Answer:
            return json_answer(codec.encode(stage.machine.sample()))

        stage.server.route("GET", "/simulation/sample", sample)
        database, sample_url = str(connection.settings_dict["NAME"]), f"{stage.serving.url}/simulation/sample"
        command = [
            sys.executable,
            "-m",
            "tests.operations.mortal_worker",
            database,
            str(stage.endpoint.host_id),
            sample_url,
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._answer() == "ready"

    def killed_at(self, operation: Operation, seam: int) -> bool:
        """Whether the worker died at the seam; otherwise it has done its work."""
        return self._work(operation, seam) == ["killed"]

    def seams_of(self, operation: Operation) -> list[str]:
        """The operation is worked off; the names of the seams that were passed."""
        return self._work(operation, 0)[1:]

    def _work(self, operation: Operation, seam: int) -> list[str]:
        assert self._process.stdin
        self._process.stdin.write(f"{operation.pk} {seam}\n")
        self._process.stdin.flush()
        return self._answer().split("\t")

    def close(self) -> None:
        self._process.communicate(timeout=10)

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@pytest.fixture
def mortal(ollama: Stage) -> Iterator[MortalWorker]:
    worker = MortalWorker(ollama)
    yield worker
    worker.close()


class CompletedLoads:
    """Counts the loads that were not aborted: a killed worker's connection breaks, and Ollama then gives up its load."""

    def __init__(self, scheduler: Any) -> None:
        self.count = 0
        self._load = scheduler._load
        scheduler._load = self._counted

    async def _counted(self, *args: Any) -> Any:
        runner = await self._load(*args)
        self.count += 1
        return runner


class Beginning:
    """Only the small model is loaded, by Berth: made once by a load, and put back from what that wrote down."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        stage.done("load", SMALL)
        self._residency = Residency.objects.get()

    def again(self) -> None:
        """Nothing else is loaded, intended or under way."""
        Operation.objects.all().delete()
        Residency.objects.all().delete()
        self._stage.thread.run(self._empty())
        asyncio.run(self._load())
        self._residency.save(force_insert=True)
        self._stage.look()

    def swap(self) -> Operation:
        """The same, and a swap for the middle model is asked for."""
        self.again()
        return self._stage.ask("swap", MIDDLE, unload=(self._stage.loaded(SMALL).pk,))

    def apply(self) -> Operation:
        """The same, and an apply in which the small model makes way for the middle one."""
        self.again()
        steps = [
            StepRequest(Operation.Kind.UNLOAD, self._stage.endpoint, SMALL),
            StepRequest(Operation.Kind.LOAD, self._stage.endpoint, MIDDLE, after=(0,)),
        ]
        return request_apply(self._stage.admin, "evening", steps)

    async def _empty(self) -> None:
        scheduler = self._stage.server.scheduler
        for runner in list(scheduler.runners):
            scheduler.unload(runner.model)
            await runner.gone.wait()

    async def _load(self) -> None:
        backend = await sync_to_async(backend_for)(self._stage.endpoint)
        async for _ in backend.load(SMALL, stored_options(self._residency.options)):
            pass
        await backend.aclose()


@pytest.fixture
def beginning(ollama: Stage) -> Beginning:
    return Beginning(ollama)


def taken_over(stage: Stage, operation: Operation) -> Operation:
    """What happens after a worker's death: its lease runs out, the reconciler notices, another worker goes on."""
    expired = timezone.now() - timedelta(seconds=1)
    Operation.objects.filter(pk=operation.pk, state="running").update(lease_expires_at=expired)
    Operation.objects.filter(pk=operation.pk).update(enqueued_at=None)
    assert stage.reconciler.tick_now()
    operation.refresh_from_db()
    assert operation.enqueued_at is not None or not operation.is_active
    return stage.work(operation)


def test_a_worker_killed_at_any_seam_of_a_swap_is_succeeded_by_one_that_finishes_it(
    ollama: Stage, beginning: Beginning, mortal: MortalWorker
) -> None:
    loads = CompletedLoads(ollama.server.scheduler)
    for seam in itertools.count(1):
        operation = beginning.swap()
        loads.count = 0
        was_killed = mortal.killed_at(operation, seam)
        operation = taken_over(ollama, operation) if was_killed else ollama.work(operation)
        assert operation.state == "succeeded", (seam, operation.error_message)
        assert ollama.server.loaded == [MIDDLE]
        assert loads.count == 1, f"loaded twice after a death at seam {seam}"
        assert list(Residency.objects.values_list("name", flat=True)) == [MIDDLE]
        assert not Reservation.objects.exists()
        if not was_killed:
            break
        assert seam < MOST_SEAMS
    assert seam > 6


def test_a_worker_killed_at_any_seam_while_putting_back_is_succeeded_by_one_that_puts_back(
    ollama: Stage, beginning: Beginning, mortal: MortalWorker
) -> None:
    """From the load that fails on: until there it is the swap above."""
    names = mortal.seams_of(beginning.swap())
    failing_load = [at for at, name in enumerate(names, 1) if name.startswith("POST")][1]
    for seam in itertools.count(failing_load):
        operation = beginning.swap()
        ollama.server.faults.clear()
        ollama.server.faults.add(Fault.OUT_OF_MEMORY, times=1)
        was_killed = mortal.killed_at(operation, seam)
        operation = taken_over(ollama, operation) if was_killed else ollama.work(operation)
        if operation.state == "succeeded":
            assert ollama.server.loaded == [MIDDLE]
        else:
            assert (operation.error_code, operation.result["restored"]) == ("out_of_memory", [SMALL]), seam
            assert ollama.server.loaded == [SMALL]
        if not was_killed:
            break
        assert seam < MOST_SEAMS
    assert seam > failing_load + 3


def finish_the_apply(stage: Stage, operation: Operation) -> Operation:
    """What other workers do once leases have run out and the reconciler has told them."""
    while operation.is_active:
        expired = timezone.now() - timedelta(seconds=1)
        Operation.objects.filter(state="running", lease_expires_at__isnull=False).update(lease_expires_at=expired)
        Operation.objects.update(enqueued_at=None)
        told: list[int] = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("models_app.operations.reconciler.enqueue", told.append)
            assert stage.reconciler.tick_now()
        for operation_id in told:
            run_operation(operation_id)
        operation.refresh_from_db()
    return operation


def test_a_worker_killed_at_any_seam_of_an_apply_is_succeeded_by_one_that_does_nothing_twice(
    ollama: Stage, beginning: Beginning, mortal: MortalWorker
) -> None:
    loads = CompletedLoads(ollama.server.scheduler)
    for seam in itertools.count(1):
        operation = beginning.apply()
        loads.count = 0
        was_killed = mortal.killed_at(operation, seam)
        operation = finish_the_apply(ollama, operation)
        assert operation.state == "succeeded", (seam, operation.error_message)
        assert ollama.server.loaded == [MIDDLE]
        assert loads.count == 1, f"loaded twice after a death at seam {seam}"
        assert Operation.objects.filter(part_of__operation=operation).count() == 2
        assert not Reservation.objects.exists()
        if not was_killed:
            break
        assert seam < MOST_SEAMS
    assert seam > 15


def test_a_worker_that_is_lost_three_times_fails_the_operation(ollama: Stage) -> None:
    operation = ollama.ask("load", SMALL)
    lost: dict[str, Any] = {"state": "running", "lease_token": "dead", "attempt": 3}
    Operation.objects.filter(pk=operation.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1), **lost)
    ollama.reconciler.tick_now()
    operation.refresh_from_db()
    assert (operation.state, operation.error_code) == ("failed", "worker_lost")
    assert ollama.ask("load", SMALL)
