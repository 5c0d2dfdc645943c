"""A simulated Ollama server: the same paths, statuses, keys and error texts as a real one, over a simulated host."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from models_app.simulation import ollama_requests as requests
from models_app.simulation.asgi import Application
from models_app.simulation.catalogue import CATALOGUE, SimulatedModel
from models_app.simulation.devices import SimulatedOutOfMemory
from models_app.simulation.golang import timestamp
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.messages import Answer, Request, json_answer, ndjson_answer
from models_app.simulation.ollama_describe import running
from models_app.simulation.ollama_library import Library
from models_app.simulation.ollama_requests import canonical
from models_app.simulation.ollama_runner import OllamaSettings, Runner, RunnerOptions
from models_app.simulation.ollama_scheduler import QueueFull, Scheduler
from models_app.simulation.ollama_text import generated
from models_app.simulation.runner import RunnerDied, Timing


class OllamaSimulator(Application):
    """An ``ollama serve`` on ``host`` with ``models`` installed and ``registry`` to pull from."""

    wrong_method = Answer(405, b"405 method not allowed", "text/plain")

    def __init__(
        self,
        host: SimulatedHost,
        models: Iterable[SimulatedModel] = (),
        *,
        registry: Iterable[SimulatedModel] = CATALOGUE.values(),
        version: str = "0.33.0",
        settings: OllamaSettings | None = None,
        timing: Timing | None = None,
        control: bool = False,
    ) -> None:
        super().__init__(control=control)
        self.host = host
        self.version = version
        self.timing = timing or Timing()
        self.library = Library(self, models, registry, self.timing)
        self.scheduler = Scheduler(host, settings or OllamaSettings(), self.timing, self.faults, self.background)
        self._add_routes()

    @property
    def models(self) -> dict[str, SimulatedModel]:
        """What is installed, by its name with tag; may be changed."""
        return self.library.models

    @property
    def loaded(self) -> list[str]:
        """The names that ``/api/ps`` lists, in no order."""
        return [runner.model.name for runner in self.scheduler.runners]

    @property
    def loads(self) -> int:
        """How many loads have begun, reloads included."""
        return self.scheduler.loads

    def pids(self) -> list[int]:
        """The server's process and those of its runners, the one that is still loading included."""
        running = (runner.pid for runner in self.scheduler.runners)
        return [self.scheduler.server_pid, *running, *self.scheduler.starting_pids]

    def model_pids(self) -> dict[str, list[int]]:
        """The processes of each model that is loaded."""
        return {runner.model.name: [runner.pid] for runner in list(self.scheduler.runners)}

    async def preload(self, name: str, *, keep_alive_seconds: float = -1, **options: Any) -> Runner | None:
        """Load a model before any client asks, as the demo does."""
        model = self.models[canonical(name)]
        return await self.scheduler.load(model, RunnerOptions(**options), keep_alive_seconds)

    async def stop(self) -> None:
        await super().stop()
        self.scheduler.stop()

    async def guard(self, request: Request) -> Answer | None:
        return None if requests.is_local_host(request.headers.get("host", "")) else Answer(403)

    def _add_routes(self) -> None:
        self.route("GET", "/", self._root)
        self.route("GET", "/api/version", self._version)
        self.route("GET", "/api/ps", self._ps)
        self.route("POST", "/api/generate", self._generate)
        self.route("POST", "/api/chat", self._chat)
        self.route("POST", "/api/embed", self._embed)

    async def _root(self, _request: Request) -> Answer:
        return Answer(200, b"Ollama is running", "text/plain; charset=utf-8")

    async def _version(self, _request: Request) -> Answer:
        return json_answer({"version": self.version})

    async def _ps(self, _request: Request) -> Answer:
        latest_first = sorted(self.scheduler.runners, key=lambda runner: -int(runner.expires_at))
        return json_answer({"models": [running(runner) for runner in latest_first]})

    async def _generate(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        model = self._find(wanted)
        if not wanted.get("prompt") and wanted["keep_alive"] == 0:
            return self._unloaded(model, wanted, {"response": ""})
        if model.is_embedding:
            raise requests.error(400, f'"{wanted["model"]}" does not support generate')
        runner = await self._load(model, wanted)
        if not wanted.get("prompt") or runner is None:
            return json_answer(_final(wanted, {"response": ""}, "load"))
        return await self._text(runner, wanted, chat=False)

    async def _chat(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        model = self._find(wanted)
        silence = {"message": {"role": "assistant", "content": ""}}
        if not wanted.get("messages") and wanted["keep_alive"] == 0:
            return self._unloaded(model, wanted, silence)
        if model.is_embedding:
            raise requests.error(400, f'"{wanted["model"]}" does not support chat')
        runner = await self._load(model, wanted)
        if not wanted.get("messages") or runner is None:
            return json_answer(_final(wanted, silence, "load"))
        return await self._text(runner, wanted, chat=True)

    async def _embed(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        model = self.library.find(str(wanted.get("model", "")))
        if model is None:
            raise requests.error(404, f'model "{wanted.get("model", "")}" not found, try pulling it first')
        await self._load(model, wanted)
        texts = wanted.get("input", [])
        texts = [texts] if isinstance(texts, str) else texts
        if not texts:
            return json_answer({"model": wanted["model"], "embeddings": []})
        vectors = [[0.5 / (1 + place) for place in range(model.embedding_length)] for _ in texts]
        counts = {"total_duration": 1_000_000, "load_duration": 500_000, "prompt_eval_count": 3 * len(texts)}
        return json_answer({"model": wanted["model"], "embeddings": vectors} | counts)

    def _find(self, wanted: dict[str, Any]) -> SimulatedModel:
        name = str(wanted.get("model", ""))
        model = self.library.find(name)
        if model is None:
            raise requests.error(404, f"model '{name}' not found")
        return model

    async def _load(self, model: SimulatedModel, wanted: dict[str, Any]) -> Runner | None:
        options = requests.runner_options(wanted)
        if model.is_broken:
            raise requests.error(500, 'tensor "blk.1.ffn_down.weight" offset+size (330464) exceeds file size (322032)')
        try:
            return await self.scheduler.load(model, options, wanted["keep_alive"])
        except QueueFull:
            raise requests.error(503, "server busy, please try again.  maximum pending requests exceeded") from None
        except SimulatedOutOfMemory as problem:
            raise requests.out_of_memory(problem) from problem
        except RunnerDied:
            raise requests.error(500, "llama-server process has terminated: signal: killed") from None

    def _unloaded(self, model: SimulatedModel, wanted: dict[str, Any], silence: dict[str, Any]) -> Answer:
        self.scheduler.unload(model)
        return json_answer(_final(wanted, silence, "unload"))

    async def _text(self, runner: Runner, wanted: dict[str, Any], *, chat: bool) -> Answer:
        lines = generated(self.scheduler, runner, wanted, chat=chat)
        if wanted.get("stream", True):
            return ndjson_answer(lines)
        parts = [line async for line in lines]
        return json_answer(_joined(parts, chat=chat))


def _joined(parts: list[dict[str, Any]], *, chat: bool) -> dict[str, Any]:
    whole = parts[-1]
    if chat:
        text = "".join(part["message"]["content"] for part in parts)
        return whole | {"message": {"role": "assistant", "content": text}}
    return whole | {"response": "".join(part["response"] for part in parts)}


def _final(wanted: dict[str, Any], silence: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"model": wanted["model"], "created_at": timestamp(time.time()), **silence, "done": True, "done_reason": reason}
