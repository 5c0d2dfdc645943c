"""A simulated llama-server in router mode: models are loaded and unloaded by request, each in a child process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from models_app.simulation import llama_answers as answers
from models_app.simulation import llama_describe as describe
from models_app.simulation.asgi import Application
from models_app.simulation.catalogue import CATALOGUE, SimulatedModel
from models_app.simulation.faults import Fault
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_children import Child, Children
from models_app.simulation.llama_listing import entry
from models_app.simulation.messages import Answer, Request
from models_app.simulation.ollama_text import words
from models_app.simulation.runner import Timing


class LlamaRouterSimulator(Application):
    """A llama-server without a model of its own.

    ``wakes`` names every (path, model) that a mere look loaded: monitoring must leave it empty. ``context_length`` is
    the context of one slot, in tokens; the ``slots`` share it, as in llama-server's unified cache.
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
        self.slots = slots
        self.api_key = api_key
        self.metrics = metrics
        self.timing = timing or Timing()
        self.registry = {model.name: model for model in registry}
        self.children = Children(host, models, models_max, context_length, self.timing, self.faults, self.background)
        self.wakes: list[tuple[str, str]] = []
        self._add_routes()

    @property
    def loaded(self) -> list[str]:
        """The models that are in memory."""
        return [child.name for child in self.children if child.value == "loaded"]

    @property
    def loads(self) -> int:
        """How many loads have begun."""
        return self.children.loads

    def pids(self) -> list[int]:
        """The router's process and those of its children."""
        return self.children.pids()

    def model_pids(self) -> dict[str, list[int]]:
        """The process of each model that has one."""
        return {child.model.name: [child.pid] for child in self.children if child.pid is not None}

    async def preload(self, name: str) -> None:
        """Load a model before any client asks, as the demo does."""
        child = self.children[name]
        self.children.begin_load(child)
        await child.settled.wait()

    async def stop(self) -> None:
        await super().stop()
        self.children.stop()

    async def guard(self, request: Request) -> Answer | None:
        self.children.notice_the_dead()
        return answers.refusal(request, self.api_key)

    def _add_routes(self) -> None:
        self.route("GET", "/health", self._health)
        self.route("GET", "/v1/health", self._health)
        self.route("GET", "/models", self._list)
        self.route("GET", "/v1/models", self._list)
        self.route("GET", "/models/sse", self._events)
        self.route("GET", "/props", self._props)
        self.route("GET", "/slots", self._slots)
        self.route("GET", "/metrics", self._metrics)
        self.route("POST", "/models", self._download)
        self.route("DELETE", "/models", self._delete)
        self.route("POST", "/models/load", self._load)
        self.route("POST", "/models/unload", self._unload)
        self.route("POST", "/v1/chat/completions", self._chat)

    async def _health(self, _request: Request) -> Answer:
        return answers.answer({"status": "ok"})

    async def _list(self, request: Request) -> Answer:
        if request.query.get("reload"):
            self.children.forget_failures()
        context = self.children.context_length
        data = [entry(child, context, metrics=self.metrics) for child in self.children]
        return answers.answer({"data": data, "object": "list"})

    async def _props(self, request: Request) -> Answer:
        if "model" not in request.query:
            return answers.answer(describe.router_props(self.children.models_max))
        child = await self._look(request)
        switches = {"slots": True, "props": False, "metrics": self.metrics}
        context = self.children.context_length
        return answers.answer(describe.props(child.name, child.model, child.path, self.slots, context, switches))

    async def _slots(self, request: Request) -> Answer:
        child = await self._look(request)
        return answers.answer(describe.slots(self.slots, self.children.context_length, child.busy))

    async def _metrics(self, request: Request) -> Answer:
        child = await self._look(request)
        if not self.metrics:
            raise answers.not_supported("metrics endpoint", "--metrics")
        return describe.metrics(child.busy)

    async def _look(self, request: Request) -> Child:
        """The loaded model that a GET asks about. Loads it, as the real router does, and counts that."""
        child = self._named(request.query.get("model"))
        if not child.is_running and request.query.get("autoload") != "false":
            self.wakes.append((request.path, child.name))
        return await self._awake(child, request)

    def _named(self, name: Any) -> Child:
        if not name:
            raise answers.invalid("model name is missing from the request")
        child = self.children.by_name.get(str(name))
        if child is None:
            raise answers.invalid(f"model '{name}' not found")
        return child

    async def _awake(self, child: Child, request: Request) -> Child:
        if not child.is_running:
            if request.query.get("autoload") == "false":
                raise answers.invalid("model is not loaded")
            self.children.begin_load(child)
        await child.settled.wait()
        if child.value != "loaded":
            raise answers.failure(500, f"model name={child.name} failed to load")
        self.children.use(child)
        return child

    async def _load(self, request: Request) -> Answer:
        child = self.children.by_name.get(str(answers.parse(request).get("model")))
        if child is None:
            return answers.FILE_NOT_FOUND
        if child.is_running:
            raise answers.invalid("model is already running")
        if not self.faults.take(Fault.PRETEND_TO_LOAD):
            self.children.begin_load(child)
        return answers.answer({"success": True})

    async def _unload(self, request: Request) -> Answer:
        child = self.children.by_name.get(str(answers.parse(request).get("model")))
        if child is None:
            raise answers.invalid("model is not found")
        if not child.is_running:
            raise answers.invalid("model is not running")
        self.children.begin_unload(child)
        return answers.answer({"success": True})

    async def _chat(self, request: Request) -> Answer:
        wanted = answers.parse(request)
        child = await self._awake(self._named(wanted.get("model")), request)
        if child.model.is_embedding:
            raise answers.writes_no_text()
        tokens = words(int(wanted.get("max_tokens", 16)))
        child.busy += 1
        try:
            await asyncio.sleep(self.timing.token_seconds * len(tokens))
        finally:
            child.busy -= 1
        return answers.answer(describe.chat_completion(child.name, child.model, "".join(tokens), len(tokens)))

    async def _download(self, request: Request) -> Answer:
        name = str(answers.parse(request).get("model", ""))
        self.background(self.children.download(name, self.registry.get(name)))
        return answers.answer({"success": True})

    async def _delete(self, request: Request) -> Answer:
        child = self._named(request.query.get("model"))
        if not child.model.removable:
            raise answers.failure(500, f"model name={child.name} is not removable (not from cache)")
        del self.children.by_name[child.name]
        self.children.events.publish({"model": child.name, "event": "model_remove"})
        return answers.answer({"success": True})

    async def _events(self, _request: Request) -> Answer:
        return Answer(200, self.children.events.listen(), "text/event-stream", answers.NAME_HEADER)
