"""The child processes of a simulated router: one a model, loaded and unloaded with its memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from models_app.simulation import llama_answers as answers
from models_app.simulation import llama_describe as describe
from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.devices import SimulatedOutOfMemory
from models_app.simulation.faults import Fault, Faults
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_events import Events
from models_app.simulation.memory import Placement, footprint, place
from models_app.simulation.runner import RunnerDied, Timing, fill, release

FIRST_PORT = 35001
STAGES = {"stages": ["text_model"], "current": "text_model"}


@dataclass(slots=True, eq=False)
class Child:
    """A model of the router with its process while it has one. ``settled`` is clear only during a load."""

    model: SimulatedModel
    value: str = "unloaded"
    port: int = 0
    pid: int | None = None
    exit_code: int = 0
    last_used: int = 0
    busy: int = 0
    leaving: bool = False
    work: asyncio.Task[None] | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The model's name, which is the router's id of it."""
        return self.model.name

    @property
    def path(self) -> str:
        """The model's file."""
        return f"/srv/models/{self.model.name.replace('/', '_')}.gguf"

    @property
    def is_running(self) -> bool:
        """Whether it has a process, loaded or on its way."""
        return self.value in {"loading", "loaded"}


class Children:
    """All models of one router. Used from one event loop only."""

    def __init__(
        self,
        host: SimulatedHost,
        models: Iterable[SimulatedModel],
        models_max: int,
        context_length: int,
        timing: Timing,
        faults: Faults,
        background: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.host = host
        self.models_max = models_max
        self.context_length = context_length
        self.timing = timing
        self.faults = faults
        self.server_pid = host.spawn("llama-server")
        self.by_name = {model.name: Child(model) for model in sorted(models, key=lambda model: model.name)}
        self.events = Events()
        self.loads = 0
        """How many loads have begun."""
        self._background = background
        self._ports = itertools.count(FIRST_PORT)
        self._uses = itertools.count(1)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self.by_name.values()))

    def __getitem__(self, name: str) -> Child:
        return self.by_name[name]

    def pids(self) -> list[int]:
        """The router's process and those of its children."""
        return [self.server_pid, *(child.pid for child in self if child.pid is not None)]

    def use(self, child: Child) -> None:
        """Mark the model as the most recently used."""
        child.last_used = next(self._uses)

    def begin_load(self, child: Child) -> None:
        """Start a load, at once; the least recently used idle model makes room. Raises the 500 of a full router."""
        victim = self._victim()
        child.value, child.exit_code, child.port = "loading", 0, next(self._ports)
        self.use(child)
        child.settled.clear()
        self.loads += 1
        child.work = self._background(self._load(child, victim))

    def begin_unload(self, child: Child) -> None:
        """Stop a model; one that is being loaded is killed, and shows as failed."""
        if child.value == "loading" and child.work is not None:
            child.work.cancel()
            self._gone(child, 1)
        elif not child.leaving:
            self._background(self._unload(child))

    def forget_failures(self) -> None:
        """What a reload of the list does."""
        for child in self:
            child.exit_code = 0
        self.events.publish({"model": "*", "event": "models_reload"})

    def stop(self) -> None:
        """The router ends and takes its children with it; it begins anew without a memory of failures."""
        for child in self:
            if child.pid is not None:
                self.host.end(child.pid)
            child.value, child.pid, child.leaving, child.exit_code = "unloaded", None, False, 0
            child.settled.set()

    async def download(self, name: str, model: SimulatedModel | None) -> None:
        """Fetch a model; without one nothing comes, and the end is told all the same, as recorded."""
        self.events.publish({"model": name, "event": "model_status", "data": {"status": "downloading"}})
        if model is not None:
            await asyncio.sleep(model.file_bytes / self.timing.pull_bytes_per_second)
            self.by_name[name] = Child(model)
        self.events.publish({"model": name, "event": "download_finished"})

    def notice_the_dead(self) -> None:
        """A child that was killed from outside shows as failed."""
        for child in self:
            if child.value == "loaded" and child.pid is not None and not self.host.is_alive(child.pid):
                self._gone(child, 1)

    def _victim(self) -> Child | None:
        running = [child for child in self if child.is_running]
        if len(running) < self.models_max:
            return None
        idle = [child for child in running if child.value == "loaded" and not child.busy]
        if not idle:
            raise answers.failure(500, "model limit reached, try again later")
        return min(idle, key=lambda child: child.last_used)

    async def _load(self, child: Child, victim: Child | None) -> None:
        if victim is not None:
            await asyncio.shield(self._background(self._unload(victim)))
        self.events.publish({"model": child.name, "event": "model_status", "data": {"status": "loading"}})
        pid = child.pid = self.host.spawn("llama-server", parent_pid=self.server_pid)
        self._progress(child, 0.0)
        try:
            placement = self._place(child.model)
            await fill(self.host, pid, placement, self.timing.load_seconds(child.model.file_bytes), self.faults)
        except (SimulatedOutOfMemory, RunnerDied):
            self._gone(child, 1)
            return
        self._progress(child, 1.0)
        child.value = "loaded"
        child.settled.set()
        info = describe.listed(child.name, child.model, self.context_length)
        self._changed(child, {"status": "loaded", "info": info})

    def _place(self, model: SimulatedModel) -> Placement:
        if model.is_broken:
            raise RunnerDied
        return place(footprint(model, self.context_length), self.host)

    async def _unload(self, child: Child) -> None:
        child.leaving = True
        if child.pid is None or self.faults.take(Fault.STUCK_STOPPING):
            return
        await release(self.host, child.pid, self.timing.release_seconds, self.faults)
        self._gone(child, 0)
        if self.faults.take(Fault.RELOAD_DURING_UNLOAD):
            self.begin_load(child)

    def _gone(self, child: Child, exit_code: int) -> None:
        if child.pid is not None and exit_code:
            self.host.end(child.pid)
        child.value, child.pid, child.leaving, child.exit_code = "unloaded", None, False, exit_code
        child.settled.set()
        self._changed(child, {"status": "unloaded", "exit_code": exit_code})

    def _progress(self, child: Child, value: float) -> None:
        self._changed(child, {"status": "loading", "progress": STAGES | {"value": value}})

    def _changed(self, child: Child, data: dict[str, Any]) -> None:
        self.events.publish({"model": child.name, "event": "status_change", "data": data})
