"""A simulated llama-server in router mode: one child process a model, started and stopped by request."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from models_app.simulation import llama_answers as answers
from models_app.simulation.asgi import Answer, Application, Request
from models_app.simulation.catalogue import CATALOGUE, SimulatedModel
from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost, SimulatedOutOfMemory
from models_app.simulation.memory import Placement, footprint, place
from models_app.simulation.ollama_text import words
from models_app.simulation.runner import RunnerDied, Timing, fill, release

STAGES = {"stages": ["text_model"], "current": "text_model"}


@dataclass(slots=True, eq=False)
class Child:
    """A model of the router with its process while it has one."""

    model: SimulatedModel
    path: str
    source: str
    value: str = "unloaded"
    port: int = 0
    pid: int | None = None
    exit_code: int | None = None
    last_used: int = 0
    busy: int = 0
    leaving: bool = False
    work: asyncio.Task[None] | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_running(self) -> bool:
        """Whether it has a process, loaded or on its way."""
        return self.value in {"loading", "loaded"}


class LlamaRouterSimulator(Application):
    """A llama-server without a model of its own.

    ``wakes`` names every (path, model) that a mere look loaded: monitoring must leave it empty. ``context_length`` is the
    context of one slot, in tokens; ``slots`` share it, as with llama-server's unified cache.
    """

    unknown_path = wrong_method = answers.FILE_NOT_FOUND

    def __init__(
        self,
        host: SimulatedHost,
        models: Iterable[SimulatedModel] = (),
        *,
        registry: Iterable[SimulatedModel] = CATALOGUE.values(),
        models_max: int = 4,
        context_length: int = 8192,
        slots: int = 4,
        api_key: str | None = None,
        metrics: bool = True,
        timing: Timing | None = None,
        control: bool = False,
    ) -> None:
        super().__init__(control=control)
        self.host = host
        self.models_max = models_max
        self.context_length = context_length
        self.slots = slots
        self.api_key = api_key
        self.metrics = metrics
        self.timing = timing or Timing()
        self.registry = {model.name: model for model in registry}
        self.children = {model.name: _child(model) for model in sorted(models, key=lambda model: model.name)}
        self.server_pid = host.spawn("llama-server")
        self.wakes: list[tuple[str, str]] = []
        self.loads = 0
        """How many loads have begun."""
        self._ports = itertools.count(35001)
        self._uses = itertools.count(1)
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()
        self._add_routes()

    @property
    def loaded(self) -> list[str]:
        """The models that are in memory."""
        return [name for name, child in self.children.items() if child.value == "loaded"]

    def pids(self) -> list[int]:
        """The router's process and those of its children."""
        return [self.server_pid, *(child.pid for child in self.children.values() if child.pid is not None)]

    async def preload(self, name: str) -> None:
        """Load a model before any client asks, as the demo does."""
        self._begin_load(self.children[name])
        await self.children[name].settled.wait()

    async def stop(self) -> None:
        await super().stop()
        for pid in self.pids():
            self.host.end(pid)

    async def guard(self, request: Request) -> Answer | None:
        self._notice_the_dead()
        return answers.without_key(request, self.api_key)

    def _add_routes(self) -> None:
        for path, handler in {
            "/health": self._health,
            "/v1/health": self._health,
            "/models": self._list,
            "/v1/models": self._list,
            "/models/sse": self._events,
            "/props": self._props,
            "/slots": self._slots,
            "/metrics": self._metrics,
        }.items():
            self.route("GET", path, handler)
        self.route("POST", "/models", self._download)
        self.route("DELETE", "/models", self._delete)
        self.route("POST", "/models/load", self._load)
        self.route("POST", "/models/unload", self._unload)
        self.route("POST", "/v1/chat/completions", self._chat)

    async def _health(self, _request: Request) -> Answer:
        return answers.answer({"status": "ok"})

    async def _list(self, request: Request) -> Answer:
        if request.query.get("reload"):
            for child in self.children.values():
                child.exit_code = None
            self._publish({"model": "*", "event": "models_reload"})
        return answers.answer({"data": [self._entry(child) for child in self.children.values()], "object": "list"})

    async def _props(self, request: Request) -> Answer:
        if "model" in request.query:
            child = await self._look(request)
            switches = {"slots": True, "props": False, "metrics": self.metrics}
            told = answers.props(child.model.name, child.model, child.path, self.slots, self.context_length, **switches)
            return answers.answer(told)
        return answers.answer(
            {
                "role": "router",
                "max_instances": self.models_max,
                "models_autoload": True,
                "model_alias": "llama-server",
                "model_path": "none",
                "default_generation_settings": {"params": None, "n_ctx": 0},
                "ui_settings": {},
                "build_info": answers.BUILD_INFO,
                "cors_proxy_enabled": False,
            }
        )

    async def _slots(self, request: Request) -> Answer:
        child = await self._look(request)
        return answers.answer(answers.slots(self.slots, self.context_length, child.busy))

    async def _metrics(self, request: Request) -> Answer:
        child = await self._look(request)
        if not self.metrics:
            raise answers.not_supported("metrics endpoint", "--metrics")
        return answers.metrics(child.busy)

    async def _look(self, request: Request) -> Child:
        """The loaded model that a GET asks about. Loads it, as the real router does, and counts that."""
        child = self._named(request.query.get("model"))
        if not child.is_running and request.query.get("autoload") != "false":
            self.wakes.append((request.path, child.model.name))
        return await self._awake(child, request)

    def _named(self, name: Any) -> Child:
        if not name:
            raise answers.invalid("model name is missing from the request")
        child = self.children.get(str(name))
        if child is None:
            raise answers.invalid(f"model '{name}' not found")
        return child

    async def _awake(self, child: Child, request: Request) -> Child:
        if not child.is_running:
            if request.query.get("autoload") == "false":
                raise answers.invalid("model is not loaded")
            self._begin_load(child)
        await child.settled.wait()
        if child.value != "loaded":
            raise answers.failure(500, f"model name={child.model.name} failed to load", "server_error")
        child.last_used = next(self._uses)
        return child

    async def _load(self, request: Request) -> Answer:
        child = self.children.get(str(answers.parse(request).get("model")))
        if child is None:
            return answers.FILE_NOT_FOUND
        if child.is_running:
            raise answers.invalid("model is already running")
        if self.faults.take(Fault.PRETEND_TO_LOAD):
            return answers.answer({"success": True})
        self._begin_load(child)
        return answers.answer({"success": True})

    async def _unload(self, request: Request) -> Answer:
        child = self.children.get(str(answers.parse(request).get("model")))
        if child is None:
            raise answers.invalid("model is not found")
        if not child.is_running:
            raise answers.invalid("model is not running")
        self._begin_unload(child)
        return answers.answer({"success": True})

    async def _chat(self, request: Request) -> Answer:
        wanted = answers.parse(request)
        child = await self._awake(self._named(wanted.get("model")), request)
        tokens = words(int(wanted.get("max_tokens", 16)))
        child.busy += 1
        try:
            await asyncio.sleep(self.timing.token_seconds * len(tokens))
        finally:
            child.busy -= 1
        return answers.answer(answers.chat_completion(child.model.name, "".join(tokens), len(tokens)))

    async def _download(self, request: Request) -> Answer:
        name = str(answers.parse(request).get("model", ""))
        self.background(self._downloaded(name))
        return answers.answer({"success": True})

    async def _delete(self, request: Request) -> Answer:
        child = self._named(request.query.get("model"))
        if not child.model.removable:
            message = f"model name={child.model.name} is not removable (not from cache)"
            raise answers.failure(500, message, "server_error")
        del self.children[child.model.name]
        self._publish({"model": child.model.name, "event": "model_remove"})
        return answers.answer({"success": True})

    async def _events(self, _request: Request) -> Answer:
        return Answer(200, self._stream(), "text/event-stream", answers.NAME_HEADERS)

    async def _stream(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                event = await queue.get()
                yield b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        finally:
            self._listeners.discard(queue)

    def _begin_load(self, child: Child) -> None:
        """Start a load, at once, making room by the least recently used. Raises the 500 of a full router."""
        victim = self._victim()
        child.value, child.exit_code, child.port = "loading", None, next(self._ports)
        child.last_used = next(self._uses)
        child.settled.clear()
        self.loads += 1
        child.work = self.background(self._loading(child, victim))

    def _victim(self) -> Child | None:
        running = [child for child in self.children.values() if child.is_running]
        if len(running) < self.models_max:
            return None
        idle = [child for child in running if child.value == "loaded" and not child.busy]
        if not idle:
            raise answers.failure(500, "model limit reached, try again later", "server_error")
        return min(idle, key=lambda child: child.last_used)

    async def _loading(self, child: Child, victim: Child | None) -> None:
        if victim is not None:
            await self._stopped(victim)
        self._publish_status(child, "model_status", {"status": "loading"})
        pid = child.pid = self.host.spawn("llama-server", parent_pid=self.server_pid)
        self._publish_progress(child, 0.0)
        try:
            placement = self._place(child.model)
            await fill(self.host, pid, placement, self.timing.load_seconds(child.model.file_bytes), self.faults)
        except (SimulatedOutOfMemory, RunnerDied):
            self._gone(child, 1)
            return
        self._publish_progress(child, 1.0)
        child.value = "loaded"
        child.settled.set()
        self._publish_status(child, "status_change", {"status": "loaded", "info": self._info(child)})

    def _place(self, model: SimulatedModel) -> Placement:
        if model.is_broken:
            raise RunnerDied
        return place(footprint(model, self.context_length), self.host)

    def _begin_unload(self, child: Child) -> None:
        if child.value == "loading" and child.work is not None:
            child.work.cancel()
            self._gone(child, 1)
        elif not child.leaving:
            self.background(self._stopped(child))

    async def _stopped(self, child: Child) -> None:
        pid = child.pid
        child.leaving = True
        if pid is None or self.faults.take(Fault.STUCK_STOPPING):
            return
        await release(self.host, pid, self.timing.release_seconds, self.faults)
        self._gone(child, 0)
        if self.faults.take(Fault.RELOAD_DURING_UNLOAD):
            self._begin_load(child)

    def _gone(self, child: Child, exit_code: int) -> None:
        if child.pid is not None and exit_code:
            self.host.end(child.pid)
        child.value, child.pid, child.leaving = "unloaded", None, False
        child.exit_code = exit_code or None
        child.settled.set()
        self._publish_status(child, "status_change", {"status": "unloaded", "exit_code": exit_code})

    def _notice_the_dead(self) -> None:
        """A child that was killed from outside shows as failed."""
        for child in self.children.values():
            if child.value == "loaded" and child.pid is not None and not self.host.is_alive(child.pid):
                self._gone(child, 1)

    async def _downloaded(self, name: str) -> None:
        self._publish({"model": name, "event": "model_status", "data": {"status": "downloading"}})
        model = self.registry.get(name)
        if model is not None:
            await asyncio.sleep(model.file_bytes / self.timing.pull_bytes_per_second)
            self.children[name] = _child(model)
        self._publish({"model": name, "event": "download_finished"})

    def _entry(self, child: Child) -> dict[str, Any]:
        entry = {
            "id": child.model.name,
            "aliases": [],
            "tags": [],
            "object": "model",
            "owned_by": "llamacpp",
            "created": int(time.time()),
            "status": self._status(child),
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "source": child.source,
            "can_remove": child.model.removable,
        }
        return entry | {"meta": answers.meta(child.model, self.context_length)} if child.value == "loaded" else entry

    def _status(self, child: Child) -> dict[str, Any]:
        name, context = child.model.name, str(self.context_length)
        switches = ["--metrics"] if self.metrics else []
        args = ["llama-server", "--host", "127.0.0.1", *switches, "--port", str(child.port), "--alias", name]
        preset = f"[{name}]\n" + ("metrics = 1\n" if self.metrics else "")
        status = {
            "value": child.value,
            "args": [*args, "--ctx-size", context, "--model", child.path],
            "preset": f"{preset}ctx-size = {context}\nmodel = {child.path}\n\n",
        }
        return status | {"exit_code": child.exit_code, "failed": True} if child.exit_code else status

    def _info(self, child: Child) -> dict[str, Any]:
        name = child.model.name
        head = {"id": name, "aliases": [name], "tags": [], "object": "model", "created": int(time.time())}
        return head | {"owned_by": "llamacpp", "meta": answers.meta(child.model, self.context_length)}

    def _publish_progress(self, child: Child, value: float) -> None:
        data = {"status": "loading", "progress": STAGES | {"value": value}}
        self._publish_status(child, "status_change", data)

    def _publish_status(self, child: Child, event: str, data: dict[str, Any]) -> None:
        self._publish({"model": child.model.name, "event": event, "data": data})

    def _publish(self, event: dict[str, Any]) -> None:
        for queue in self._listeners:
            queue.put_nowait(event)


def _child(model: SimulatedModel) -> Child:
    source = "cache" if model.removable else "models_dir"
    return Child(model, f"/srv/models/{model.name.replace('/', '_')}.gguf", source)
