"""A simulated Ollama server: the same paths, statuses, keys and error texts as a real one, over a simulated host."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from models_app.simulation import ollama_requests as requests
from models_app.simulation.asgi import Answer, Application, Request, json_answer
from models_app.simulation.catalogue import CATALOGUE, SimulatedModel
from models_app.simulation.golang import timestamp
from models_app.simulation.hardware import SimulatedHost, SimulatedOutOfMemory
from models_app.simulation.ollama_describe import installed, running, show
from models_app.simulation.ollama_pull import download_lines, manifest_error
from models_app.simulation.ollama_requests import canonical
from models_app.simulation.ollama_scheduler import OllamaSettings, QueueFull, Runner, RunnerOptions, Scheduler
from models_app.simulation.ollama_text import generated
from models_app.simulation.runner import RunnerDied, Timing

NDJSON = "application/x-ndjson"


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
        self.models = {canonical(model.name): replace(model, name=canonical(model.name)) for model in models}
        self.registry = {canonical(model.name): model for model in registry}
        self.scheduler = Scheduler(host, settings or OllamaSettings(), self.timing, self.faults, self.background)
        self._add_routes()

    @property
    def loaded(self) -> list[str]:
        """The names that ``/api/ps`` lists, in no order."""
        return [runner.model.name for runner in self.scheduler.runners]

    def pids(self) -> list[int]:
        """The server's process and those of its runners."""
        return [self.scheduler.server_pid, *(runner.pid for runner in self.scheduler.runners)]

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
        self.route("GET", "/api/tags", self._tags)
        self.route("GET", "/api/ps", self._ps)
        self.route("GET", "/v1/models", self._openai_models)
        self.route("POST", "/api/show", self._show)
        self.route("POST", "/api/generate", self._generate)
        self.route("POST", "/api/chat", self._chat)
        self.route("POST", "/api/embed", self._embed)
        self.route("POST", "/api/pull", self._pull)
        self.route("POST", "/api/copy", self._copy)
        self.route("DELETE", "/api/delete", self._delete)

    async def _root(self, _request: Request) -> Answer:
        return Answer(200, b"Ollama is running", "text/plain; charset=utf-8")

    async def _version(self, _request: Request) -> Answer:
        return json_answer({"version": self.version})

    async def _tags(self, _request: Request) -> Answer:
        newest_first = sorted(self.models.items(), key=lambda entry: entry[1].modified_at, reverse=True)
        return json_answer({"models": [installed(name, model) for name, model in newest_first]})

    async def _ps(self, _request: Request) -> Answer:
        latest_first = sorted(self.scheduler.runners, key=lambda runner: -int(runner.expires_at))
        return json_answer({"models": [running(runner) for runner in latest_first]})

    async def _openai_models(self, _request: Request) -> Answer:
        data = [
            {"id": name, "object": "model", "created": int(model.modified_at.timestamp()), "owned_by": "library"}
            for name, model in self.models.items()
        ]
        return json_answer({"object": "list", "data": data}, content_type="application/json")

    async def _show(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        name = requests.required_name(wanted)
        model = self.models.get(canonical(name))
        if model is None:
            raise requests.error(404, f"model '{canonical(name)}' not found")
        return json_answer(show(model, verbose=bool(wanted.get("verbose"))))

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
        model = self.models.get(canonical(str(wanted.get("model", ""))))
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

    async def _pull(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        name = requests.required_name(wanted)
        if not requests.is_possible_name(name):
            raise requests.error(400, "invalid model name")
        lines = self._pull_lines(name, insecure=bool(wanted.get("insecure")))
        if wanted.get("stream", True):
            return Answer(200, _encoded(lines), NDJSON)
        last = [line async for line in lines][-1]
        return json_answer(last, 500 if "error" in last else 200, "application/json")

    async def _pull_lines(self, name: str, *, insecure: bool) -> AsyncIterator[dict[str, Any]]:
        yield {"status": "pulling manifest"}
        listed = canonical(name)
        model = self.registry.get(listed.rsplit("/", 1)[-1])
        if model is None or (name.startswith("http://") and not insecure):
            yield {"error": manifest_error(name, insecure=insecure)}
            return
        seconds = model.file_bytes / self.timing.pull_bytes_per_second
        async for line in download_lines(model, seconds, already_here=listed in self.models):
            yield line
        self.models[listed] = replace(model, name=listed)
        yield {"status": "success"}

    async def _copy(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        source = self.models.get(canonical(str(wanted.get("source", ""))))
        if source is None:
            raise requests.error(404, f'model "{wanted.get("source", "")}" not found')
        name = canonical(str(wanted.get("destination", "")))
        self.models[name] = replace(source, name=name, blob=source.blob or source.name)
        return Answer(200)

    async def _delete(self, request: Request) -> Answer:
        name = requests.required_name(requests.parse(request))
        if self.models.pop(canonical(name), None) is None:
            raise requests.error(404, f"model '{name}' not found")
        return Answer(200)

    def _find(self, wanted: dict[str, Any]) -> SimulatedModel:
        name = str(wanted.get("model", ""))
        model = self.models.get(canonical(name))
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
            return Answer(200, _encoded(lines), NDJSON)
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


async def _encoded(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
