"""Which models a simulated Ollama holds: loads one at a time, keep-alives, evictions.

As in Ollama, an unload is acknowledged before the memory is free, a difference in the options reloads, and who must
make room is the idle model with the shortest keep-alive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from models_app.estimator.ollama_defaults import ollama_batch
from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.devices import SimulatedOutOfMemory
from models_app.simulation.faults import Fault, Faults
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.memory import Placement, footprint, place
from models_app.simulation.ollama_choices import default_batch, default_context
from models_app.simulation.ollama_runner import OllamaSettings, Runner, RunnerOptions
from models_app.simulation.runner import Timing, fill, release


class QueueFull(Exception):
    """More loads wait than ``max_queue`` allows."""


class Scheduler:
    """The loaded models of one server. Used from one event loop only."""

    def __init__(
        self,
        host: SimulatedHost,
        settings: OllamaSettings,
        timing: Timing,
        faults: Faults,
        background: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.host = host
        self.settings = settings
        self.timing = timing
        self.faults = faults
        self.server_pid = host.spawn("ollama")
        self.runners: list[Runner] = []
        self.starting_pids: set[int] = set()
        self.loads = 0
        """How many loads have begun, reloads included."""
        self._background = background
        self._loading = asyncio.Lock()
        self._waiting = 0

    def effective(self, model: SimulatedModel, options: RunnerOptions) -> RunnerOptions:
        """The options with the server's choices filled in; a context never exceeds the one of the training."""
        context = options.num_ctx or self.settings.context_length or default_context(self.host)
        context = min(context, model.training_context)
        return replace(
            options, num_ctx=context, num_batch=options.num_batch or default_batch(model, context, self.settings.parallel)
        )

    async def load(self, model: SimulatedModel, options: RunnerOptions, keep_alive_seconds: float | None) -> Runner | None:
        """Load or keep ``model``; ``None`` only where the fault ``PRETEND_TO_LOAD`` answers for it.

        Raises ``QueueFull``, ``SimulatedOutOfMemory`` and ``RunnerDied``.
        """
        wanted = self.effective(model, options)
        keep_alive = self.settings.keep_alive_seconds if keep_alive_seconds is None else keep_alive_seconds
        if self._waiting >= self.settings.max_queue and self._loading.locked():
            raise QueueFull
        runner = self._usable(model, wanted)
        if runner is None:
            if self.faults.take(Fault.PRETEND_TO_LOAD):
                return None
            runner = await self._load_in_turn(model, wanted, keep_alive)
        self._keep(runner, keep_alive)
        return runner

    def unload(self, model: SimulatedModel) -> None:
        """Expire the model at once; it leaves when nothing uses it."""
        for runner in self.runners:
            if runner.model.blob_digest == model.blob_digest and not runner.leaving:
                self._expire(runner)

    def begin_use(self, runner: Runner) -> None:
        """A request works on the runner, which therefore does not expire."""
        runner.users += 1
        runner.cancel_timer()

    def end_use(self, runner: Runner) -> None:
        """The request is done: the keep-alive begins anew."""
        runner.users -= 1
        if runner.users == 0 and runner.leaving:
            self._leave(runner)
        elif runner.users == 0:
            self._keep(runner, runner.keep_alive_seconds)

    def stop(self) -> None:
        """The server ends and takes its runners with it."""
        for runner in self.runners:
            runner.cancel_timer()
            self.host.end(runner.pid)
        self.runners.clear()

    def _usable(self, model: SimulatedModel, wanted: RunnerOptions) -> Runner | None:
        runner = self._find(model)
        if runner is None or runner.leaving or not self.host.is_alive(runner.pid):
            return None
        loaded = runner.options
        if wanted.num_gpu is None or wanted.num_gpu < 0:
            loaded, wanted = replace(loaded, num_gpu=None), replace(wanted, num_gpu=None)
        return runner if loaded == wanted else None

    def _find(self, model: SimulatedModel) -> Runner | None:
        return next((runner for runner in self.runners if runner.model.blob_digest == model.blob_digest), None)

    async def _load_in_turn(self, model: SimulatedModel, wanted: RunnerOptions, keep_alive: float) -> Runner:
        self._waiting += 1
        try:
            await self._loading.acquire()
        finally:
            self._waiting -= 1
        try:
            return self._usable(model, wanted) or await self._load(model, wanted, keep_alive)
        finally:
            self._loading.release()

    async def _load(self, model: SimulatedModel, wanted: RunnerOptions, keep_alive: float) -> Runner:
        old = self._find(model)
        if old is not None:
            await self._remove(old)
        placement = await self._make_room(model, wanted)
        self.loads += 1
        pid = self.host.spawn("llama-server", parent_pid=self.server_pid)
        seconds = self.timing.load_seconds(placement.footprint.total_bytes)
        self.starting_pids.add(pid)
        try:
            await fill(self.host, pid, placement, seconds, self.faults)
        finally:
            self.starting_pids.discard(pid)
        runner = Runner(model, wanted, pid, placement, wanted.num_ctx or 0, keep_alive)
        self.runners.append(runner)
        return runner

    async def _make_room(self, model: SimulatedModel, wanted: RunnerOptions) -> Placement:
        parallel, num_ctx = self.settings.parallel, wanted.num_ctx or 0
        need = footprint(model, num_ctx, parallel, wanted.num_batch or ollama_batch(num_ctx * parallel))
        gpus = [wanted.main_gpu] if wanted.main_gpu is not None and wanted.main_gpu < len(self.host.gpus) else None
        limit = self.settings.max_loaded_models or 3 * max(1, len(self.host.gpus))
        while True:
            try:
                placement = place(need, self.host, gpus=gpus, layers=wanted.num_gpu)
            except SimulatedOutOfMemory:
                if not self.runners:
                    raise
                placement = None
            crowded = len(self.runners) >= limit
            spilled = placement is None or (placement.ram_bytes > 0 and wanted.num_gpu is None and self.host.gpus)
            if placement is not None and not crowded and not (spilled and self.runners):
                return placement
            await self._remove(self._victim())

    def _victim(self) -> Runner:
        return min(self.runners, key=lambda runner: (runner.users > 0, runner.lasting_seconds))

    async def _remove(self, runner: Runner) -> None:
        if not self.host.is_alive(runner.pid):
            self._forget(runner)
            return
        self._expire(runner)
        await runner.gone.wait()

    def _keep(self, runner: Runner, keep_alive_seconds: float) -> None:
        runner.keep_alive_seconds = keep_alive_seconds
        runner.expires_at = time.time() + runner.lasting_seconds
        runner.cancel_timer()
        if keep_alive_seconds >= 0 and runner.users == 0:
            runner.timer = asyncio.get_running_loop().call_later(runner.lasting_seconds, self._expire, runner)

    def _expire(self, runner: Runner) -> None:
        if runner.leaving:
            return
        runner.leaving = True
        runner.expires_at = min(runner.expires_at, time.time())
        runner.cancel_timer()
        if runner.users == 0:
            self._leave(runner)

    def _leave(self, runner: Runner) -> None:
        if not self.faults.take(Fault.STUCK_STOPPING):
            self._background(self._release(runner))

    async def _release(self, runner: Runner) -> None:
        await release(self.host, runner.pid, self.timing.release_seconds, self.faults)
        self._forget(runner)
        if self.faults.take(Fault.RELOAD_DURING_UNLOAD):
            await self.load(runner.model, runner.options, None)

    def _forget(self, runner: Runner) -> None:
        runner.cancel_timer()
        if runner in self.runners:
            self.runners.remove(runner)
        runner.gone.set()
