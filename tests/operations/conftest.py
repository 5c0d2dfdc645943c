"""A stage for operations: simulated servers in a thread of their own, and the rows that describe them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from models_app.accounts.roles import Actor, Role, Via, actor, set_role
from models_app.backends.protocol import LoadOptions
from models_app.inventory.connect import backend_for
from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.inventory.observe import record_observation
from models_app.inventory.refresh import refresh_installed
from models_app.operations.models import Operation
from models_app.operations.reconciler import Reconciler
from models_app.operations.requests import Request, submit
from models_app.operations.runner import run
from models_app.simulation.catalogue import models
from models_app.simulation.devices import GIB, SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.server import Serving
from models_app.telemetry import sources
from models_app.telemetry.gpus import record_gpus
from tests.factories import EndpointFactory, HostFactory

SMALL, MIDDLE, LARGE, EMBEDDING = "llama3.2:3b", "llama3.1:8b", "deepseek-r1:32b", "nomic-embed-text:latest"
ROUTER_MODELS = ("llama-3.1-8b-instruct-q8_0", "bge-m3-f16", "mixtral-truncated-q4_k_m")

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread: the simulated servers live there, whatever the test's own loops do."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@dataclass
class Stage:
    """A simulated server with its rows, and the ways to make operations happen on it."""

    server: Any
    serving: Serving
    machine: SimulatedHost
    endpoint: Endpoint
    admin: Actor
    thread: LoopThread
    reconciler: Reconciler = field(default_factory=Reconciler)
    other_admin: Actor = field(default_factory=lambda: Actor(None, "grace", Via.API))

    def ask(self, kind: str, model: str, options: LoadOptions | None = None, **more: Any) -> Operation:
        """Ask for an operation; it waits in the queue."""
        given = {"actor": self.admin, "options": options or LoadOptions(), "endpoint": self.endpoint} | more
        return submit(Request(Operation.Kind(kind), model=model, **given))

    def work(self, operation: Operation) -> Operation:
        """Work the operation off, as a worker would."""
        asyncio.run(run(operation.pk))
        operation.refresh_from_db()
        return operation

    def done(self, kind: str, model: str, options: LoadOptions | None = None, **more: Any) -> Operation:
        """Ask for an operation, and work it off."""
        operation = self.work(self.ask(kind, model, options, **more))
        assert operation.state == "succeeded", (operation.error_code, operation.error_message, log_of(operation))
        return operation

    def look(self) -> None:
        """Observe the endpoint and write it down, as the watcher does."""
        asyncio.run(self._look())

    async def _look(self) -> None:
        backend = await sync_to_async(backend_for)(self.endpoint)
        at = timezone.now()
        observation = await backend.observe()
        await backend.aclose()
        await sync_to_async(record_observation)(self.endpoint, observation, at)

    def loaded(self, model: str) -> LoadedModel:
        return LoadedModel.objects.get(endpoint=self.endpoint, name=model)

    def used_bytes(self) -> int:
        return self.machine.used_bytes(0)


def log_of(operation: Operation) -> list[str]:
    return list(operation.log.values_list("text", flat=True))


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def machine() -> SimulatedHost:
    return SimulatedHost("testbed", [SimulatedGpu("NVIDIA GeForce RTX 4090", 24 * GIB)])


@pytest.fixture
def host(transactional_db: None, machine: SimulatedHost) -> Iterator[Host]:
    row = HostFactory(name="testbed")
    sources.register(row, machine)
    record_gpus(row, machine.sample())
    yield row
    sources.unregister(row)


@pytest.fixture
def admin_user(transactional_db: None) -> User:
    user = User.objects.create_user("ada", password="a long pass phrase")
    set_role(user, Role.ADMIN)
    return user


@pytest.fixture
def make_stage(host: Host, machine: SimulatedHost, admin_user: User, thread: LoopThread) -> Iterator[Any]:
    """Makes stages: ``make_stage(server, kind, mode)``, on the one host or ``on`` another."""
    made: list[Stage] = []

    def make(server: Any, kind: str, mode: str, on: Host | None = None) -> Stage:
        serving = Serving(server)
        thread.run(serving.open())
        endpoint = EndpointFactory(host=on or host, url=serving.url, kind=kind, mode=mode)
        asyncio.run(refresh_installed(endpoint))
        endpoint.refresh_from_db()
        stage = Stage(server, serving, server.host, endpoint, actor(admin_user, Via.WEB), thread)
        made.append(stage)
        return stage

    yield make
    for stage in made:
        sources.unregister_pids(stage.endpoint.pk)
        thread.run(stage.serving.close())


@pytest.fixture
def ollama(make_stage: Any, machine: SimulatedHost) -> Stage:
    """An Ollama with four models on one 24 GiB GPU whose driver shows no process as the endpoint's."""
    return make_stage(OllamaSimulator(machine, models(SMALL, MIDDLE, LARGE, EMBEDDING)), "ollama", "ollama")


@pytest.fixture
def router(make_stage: Any, machine: SimulatedHost) -> Stage:
    """A llama-server in router mode with three models, one of them broken."""
    return make_stage(LlamaRouterSimulator(machine, models(*ROUTER_MODELS), models_max=2), "llama_server", "router")
