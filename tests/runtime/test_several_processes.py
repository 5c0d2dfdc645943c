"""Web, worker and reconciler as processes of their own: what one does the others see, and what one leaves another ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from websockets.sync.client import ClientConnection, connect

from models_app.simulation.catalogue import models
from models_app.simulation.devices import GIB, SimulatedGpu
from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.server import Serving
from tests.ports import free_port
from tests.runtime.several_processes import Panel, Process, Web, environment, wait_for
from tests.services import Services, redis_server

pytestmark = pytest.mark.services

SMALL, MIDDLE = "llama3.2:3b", "llama3.1:8b"


@dataclass
class House:
    """A panel of two web processes, a worker and a reconciler, with a simulated Ollama as its endpoint."""

    panel: Panel
    web: Web
    other_web: Web
    worker: Process
    reconciler: Process
    database_url: str
    redis: ExitStack
    redis_port: int
    server: OllamaSimulator
    endpoint: str

    def load(self, model: str) -> int:
        return self.web.ask(kind="load", endpoint=self.endpoint, model=model)

    def unload(self, model: str) -> dict[str, Any]:
        wait_for(lambda: self._is_seen(model), f"{model} to be seen")
        return self.web.ended(self.web.ask(kind="unload", endpoint=self.endpoint, model=model))

    def later(self) -> None:
        """What a process that is gone has left runs out, without the wait; one that lives renews its own."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("UPDATE models_app_operation SET lease_expires_at = 'epoch' WHERE state = 'running'")
            connection.execute("UPDATE models_app_heartbeat SET at = 'epoch'")

    def leader(self) -> str:
        """Who holds the reconciler's lease."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SELECT holder FROM models_app_heartbeat WHERE name = 'reconciler'").fetchone()
        return row[0] if row else ""

    def _is_seen(self, model: str) -> bool:
        return any(row["name"] == model for row in self.web.get("loaded-models")["items"])


@pytest.fixture(scope="module")
def simulated() -> Iterator[Serving]:
    """A simulated Ollama on a loop of its own, so that the test may block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    host = SimulatedHost("elsewhere", [SimulatedGpu("NVIDIA GeForce RTX 4090", 24 * GIB)])
    serving = Serving(OllamaSimulator(host, models(SMALL, MIDDLE)))
    asyncio.run_coroutine_threadsafe(serving.open(), loop).result(10)
    yield serving
    asyncio.run_coroutine_threadsafe(serving.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture(scope="module")
def whole_house(services: Services, simulated: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("panel")
    database_url, port = services.create_database("several_processes"), free_port()
    with ExitStack() as redis_stack:
        redis_url = redis_stack.enter_context(redis_server(port))
        panel = Panel(folder, environment(database_url, redis_url, folder))
        try:
            panel.prepare()
            worker, reconciler = panel.start("worker"), panel.start("reconciler")
            web, other_web = panel.web(), panel.web()
            endpoint = _enter_endpoint(web, simulated.url)
            server = simulated.application
            assert isinstance(server, OllamaSimulator)
            yield House(panel, web, other_web, worker, reconciler, database_url, redis_stack, port, server, endpoint)
        finally:
            panel.close()


def _enter_endpoint(web: Web, url: str) -> str:
    """As an admin does it by clicking."""
    with web.browser() as browser:
        web.submit(
            browser, "/hosts/add/", name="elsewhere", url=url, kind="ollama", endpoint_name="ollama", api_key="", tags=""
        )
    wait_for(lambda: len(web.get("models")["items"]) == 2, "the endpoint's models to be listed")
    return "ollama"


@pytest.fixture
def house(whole_house: House, request: pytest.FixtureRequest) -> Iterator[House]:
    """The house with nothing loaded and every part at work."""
    whole_house.web.wait_until_ready()
    whole_house.server.scheduler.loads = 0
    yield whole_house
    whole_house.server.faults.clear()
    whole_house.server.timing.shortest_load_seconds = 0.02
    for model in list(whole_house.server.loaded):
        whole_house.unload(model)


@pytest.fixture(autouse=True)
def _show_logs(whole_house: House, request: pytest.FixtureRequest) -> Iterator[None]:
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        request.node.add_report_section("call", "logs", whole_house.panel.logs())


def live_socket(web: Web) -> ClientConnection:
    """The Fleet page's socket of a browser that has signed in."""
    with web.browser() as browser:
        cookie = f"sessionid={browser.cookies['sessionid']}"
    address = web.url.replace("http", "ws") + "/live/fleet/"
    return connect(address, additional_headers={"Cookie": cookie}, origin=web.url)  # type: ignore[arg-type]


def hears(socket: ClientConnection, fragment: str, words: str) -> bool:
    """Whether the fragment comes to hold the words. Fails, showing its last version, when it never does."""
    version = ""

    def look() -> bool:
        nonlocal version
        version = json.loads(socket.recv(timeout=20))["fragments"].get(fragment, version)
        return words in version

    return wait_for(look, f"{words} in {fragment}")


def test_a_load_asked_for_at_one_web_process_is_watched_at_another(house: House) -> None:
    with live_socket(house.other_web) as socket:
        operation = house.load(MIDDLE)
        assert hears(socket, f"operation-{operation}", "Succeeded")
    assert house.web.ended(operation)["state"] == "succeeded"
    assert house.server.loaded == [MIDDLE]


def test_a_worker_killed_after_the_load_is_succeeded_by_one_that_does_not_load_again(house: House) -> None:
    house.server.timing.shortest_load_seconds = 1.0
    operation = house.load(MIDDLE)
    wait_for(lambda: house.server.loads == 1, "the load to begin")
    house.server.faults.add(Fault.HANG, path="/api/ps")
    wait_for(lambda: house.server.loaded == [MIDDLE], "the load to end")
    house.worker.kill()
    house.server.faults.clear()
    house.later()
    house.worker = house.panel.start("worker")
    ended = house.web.ended(operation)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert house.server.loads == 1


def test_a_worker_killed_during_the_load_is_succeeded_by_one_that_loads(house: House) -> None:
    """Ollama gives up a load whose client has gone, so it takes a second one; the first leaves nothing behind."""
    house.server.faults.add(Fault.STALL_LOAD, times=1)
    operation = house.load(MIDDLE)
    wait_for(lambda: house.server.faults.active() == [], "the load to be half-way")
    house.worker.kill()
    house.worker = house.panel.start("worker")
    ended = house.web.ended(operation)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert house.server.loaded == [MIDDLE]
    assert house.server.loads == 2


def test_an_emptied_queue_loses_nothing(house: House) -> None:
    house.worker.stop()
    operations = [house.load(SMALL), house.load(MIDDLE)]
    with redis.Redis(port=house.redis_port) as client:
        assert client.llen("celery") >= 2
        client.flushall()
        assert client.llen("celery") == 0
    house.worker = house.panel.start("worker")
    assert [house.web.ended(operation)["state"] for operation in operations] == ["succeeded", "succeeded"]
    assert house.server.loads == 2


def test_of_two_reconcilers_one_works_and_the_other_takes_over(house: House) -> None:
    leader = house.leader()
    second = house.panel.start("reconciler")
    wait_for(lambda: "Reconciling" in second.log.read_text(), "the second reconciler to start")
    operation = house.load(SMALL)
    assert house.web.ended(operation)["state"] == "succeeded"
    assert house.leader() == leader
    house.reconciler.kill()
    house.later()
    wait_for(lambda: house.leader() not in ("", leader), "the second reconciler to take over")
    house.reconciler = second
    house.web.wait_until_ready()


def test_a_reconciler_that_is_stopped_hands_over_at_once(house: House) -> None:
    house.reconciler.stop()
    assert house.leader() == ""
    house.reconciler = house.panel.start("reconciler")
    wait_for(house.leader, "the next reconciler to lead")


def test_readiness_names_a_worker_that_is_gone(house: House) -> None:
    house.worker.kill()
    house.later()
    wait_for(lambda: list(house.web.readiness()) == ["worker"], "the dead worker, and nothing else, to be missed")
    house.worker = house.panel.start("worker")
    house.web.wait_until_ready()


def test_without_redis_requests_are_kept_and_done_when_it_is_back(house: House) -> None:
    house.redis.close()
    assert wait_for(house.web.readiness, "the missing Redis to be named")["queue"] == "Redis does not answer."
    operation = house.load(SMALL)
    house.redis.enter_context(redis_server(house.redis_port))
    wait_for(lambda: "Redis answers again" in house.reconciler.log.read_text(), "the return to be told")
    assert house.web.ended(operation)["state"] == "succeeded"
    with live_socket(house.other_web) as socket:
        operation = house.load(MIDDLE)
        assert hears(socket, f"operation-{operation}", "Succeeded")


def test_every_process_goes_on_after_postgresql_has_thrown_all_of_them_out(house: House) -> None:
    """As its restart does: what broke in the middle of a load is done by whoever comes next."""
    house.server.timing.shortest_load_seconds = 1.0
    operation = house.load(MIDDLE)
    wait_for(lambda: house.server.loads == 1, "the load to begin")
    with psycopg.connect(house.database_url) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        connection.execute("UPDATE models_app_heartbeat SET at = 'epoch'")
    assert house.web.ended(operation)["state"] == "succeeded"
    house.web.wait_until_ready()
    house.server.timing.shortest_load_seconds = 0.02
    assert house.web.ended(house.load(SMALL))["state"] == "succeeded"
