"""The demo's machines: simulated servers on loopback ports, in a thread, entered as hosts and endpoints."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from django.db import connections

from models_app.inventory.models import Endpoint, Host
from models_app.plans.documents import read_yaml
from models_app.plans.models import Demand, Plan
from models_app.runtime.part import Part
from models_app.simulation.fleet import FleetEndpoint, FleetHost, demo_fleet
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.llama_single import LlamaServerSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.telemetry.sources import register, register_pids

START_SECONDS = 20
DEMANDS = Path(__file__).with_name("demo_demands.yaml")
MODES: dict[type, str] = {OllamaSimulator: "ollama", LlamaRouterSimulator: "router", LlamaServerSimulator: "single"}


class DemoFleet(Part):
    """A running simulated fleet, entered in the database; endpoints of an earlier start get their new addresses."""

    def __init__(self) -> None:
        super().__init__("simulated fleet")
        self.fleet = demo_fleet()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serving = threading.Event()

    def start(self, on_end: Callable[[], object]) -> None:
        """Return when every server listens and is in the list. Raises TimeoutError."""
        super().start(on_end)
        if not self._serving.wait(START_SECONDS):
            raise TimeoutError("The simulated servers did not start.")
        _forget_addresses()
        for host in self.fleet.hosts:
            _enter(host)
        _enter_demands()
        connections.close_all()

    def work(self) -> None:
        self._loop.run_until_complete(self._serve())

    def ask_to_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        async with self.fleet.serve():
            self._serving.set()
            await self._stop.wait()


def _enter(simulated: FleetHost) -> None:
    host = Host.objects.get_or_create(name=simulated.name, defaults={"tags": ["simulated"]})[0]
    register(host, simulated.probe)
    for endpoint in simulated.endpoints:
        _enter_endpoint(host, endpoint)


def _enter_demands() -> None:
    """What the demo is asked to serve, at its first start. The catalog learns of the models only later."""
    if not Demand.objects.exists() and not Plan.objects.exists():
        for spec in read_yaml(DEMANDS.read_text(encoding="utf-8")):
            Demand.objects.create(**spec.columns())


def _forget_addresses() -> None:
    """Addresses are unique, and a free port of this start may have been another endpoint's at an earlier one."""
    for endpoint in Endpoint.objects.all():
        Endpoint.objects.filter(pk=endpoint.pk).update(url=f"http://stopped.invalid/{endpoint.pk}")


def _enter_endpoint(host: Host, simulated: FleetEndpoint) -> None:
    address = {"host": host, "kind": simulated.kind, "mode": MODES[type(simulated.server)], "url": simulated.url}
    endpoint = Endpoint.objects.update_or_create(name=simulated.name, defaults=address)[0]
    register_pids(endpoint.pk, simulated.pids, simulated.model_pids)
