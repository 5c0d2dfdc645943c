"""The demo's machines: simulated servers on loopback ports, in a thread, entered as hosts and endpoints."""

from __future__ import annotations

import asyncio
import threading

from models_app.inventory.models import Endpoint, Host
from models_app.simulation.fleet import Fleet, FleetEndpoint, FleetHost, demo_fleet
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.llama_single import LlamaServerSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.telemetry.sources import register, register_pids

START_SECONDS = 20
MODES: dict[type, str] = {OllamaSimulator: "ollama", LlamaRouterSimulator: "router", LlamaServerSimulator: "single"}


class DemoFleet:
    """A running simulated fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    async def _serve(self) -> None:
        async with self.fleet.serve():
            self._serving.set()
            await self._stop.wait()

    def start(self) -> None:
        """Return when every server listens. Raises TimeoutError."""
        self._thread.start()
        if not self._serving.wait(START_SECONDS):
            raise TimeoutError("The simulated servers did not start.")

    def stop(self) -> None:
        """Close the servers."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


def start() -> DemoFleet:
    """Start the fleet and enter it in the database; endpoints of an earlier start get their new addresses."""
    running = DemoFleet(demo_fleet())
    running.start()
    _forget_addresses()
    for host in running.fleet.hosts:
        _enter(host)
    return running


def _enter(simulated: FleetHost) -> None:
    host = Host.objects.get_or_create(name=simulated.name, defaults={"tags": ["simulated"]})[0]
    register(host, simulated.probe)
    for endpoint in simulated.endpoints:
        _enter_endpoint(host, endpoint)


def _forget_addresses() -> None:
    """Addresses are unique, and a free port of this start may have been another endpoint's at an earlier one."""
    for endpoint in Endpoint.objects.all():
        Endpoint.objects.filter(pk=endpoint.pk).update(url=f"http://stopped.invalid/{endpoint.pk}")


def _enter_endpoint(host: Host, simulated: FleetEndpoint) -> None:
    address = {"host": host, "kind": simulated.kind, "mode": MODES[type(simulated.server)], "url": simulated.url}
    endpoint = Endpoint.objects.update_or_create(name=simulated.name, defaults=address)[0]
    register_pids(endpoint.pk, simulated.pids)
