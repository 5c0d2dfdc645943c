"""A simulated Ollama server: the same paths, statuses, keys and error texts as a real one, over a simulated host."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import fields, replace
from typing import Any

from models_app.simulation.asgi import Answer, Application, HttpError, Request, json_answer
from models_app.simulation.catalogue import CATALOGUE, SimulatedModel
from models_app.simulation.golang import parse_keep_alive, parse_object, timestamp
from models_app.simulation.hardware import SimulatedHost, SimulatedOutOfMemory
from models_app.simulation.ollama_describe import installed, running, show
from models_app.simulation.ollama_pull import download_lines, manifest_error
from models_app.simulation.ollama_scheduler import OllamaSettings, QueueFull, Runner, RunnerOptions, Scheduler
from models_app.simulation.ollama_text import generated
from models_app.simulation.runner import RunnerDied, Timing, out_of_memory_text

NDJSON = "application/x-ndjson"
_NAME = re.compile(r"(?:https?://)?[A-Za-z0-9][\w.:/-]*")
_LOCAL_HOST = re.compile(r"(?:localhost|[\d.]+|\[[0-9a-f:]+\]|.*\.(?:localhost|local|internal))(?::\d+)?", re.IGNORECASE)


def canonical(name: str) -> str:
    """The name as Ollama lists it: without a scheme, with a tag."""
    bare = re.sub(r"^https?://", "", name)
    return bare if ":" in bare.rsplit("/", 1)[-1] else f"{bare}:latest"


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
        return None if _LOCAL_HOST.fullmatch(request.headers.get("host", "")) else Answer(403)

    def _add_routes(self) -> None:
        for path, handler in {
            "/": self._root,
            "/api/version": self._version,
            "/api/tags": self._tags,
            "/api/ps": self._ps,
            "/v1/models": self._openai_models,
        }.items():
            self.route("GET", path, handler)
        for path, handler in {
            "/api/show": self._show,
            "/api/generate": self._generate,
            "/api/chat": self._chat,
            "/api/embed": self._embed,
            "/api/pull": self._pull,
            "/api/copy": self._copy,
        }.items():
            self.route("POST", path, handler)
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
        wanted = _parse(request)
        name = _required_name(wanted)
        model = self.models.get(canonical(name))
        if model is None:
            raise _error(404, f"model '{canonical(name)}' not found")
        return json_answer(show(model, verbose=bool(wanted.get("verbose"))))

    async def _generate(self, request: Request) -> Answer:
        wanted = _parse(request)
        model = self._find(wanted)
        if not wanted.get("prompt") and wanted["keep_alive"] == 0:
            return self._unloaded(model, wanted, {"response": ""})
        if model.is_embedding:
            raise _error(400, f'"{wanted["model"]}" does not support generate')
        runner = await self._load(model, wanted)
        if not wanted.get("prompt") or runner is None:
            return json_answer(_final(wanted, {"response": ""}, "load"))
        return await self._text(runner, wanted, chat=False)

    async def _chat(self, request: Request) -> Answer:
        wanted = _parse(request)
        model = self._find(wanted)
        silence = {"message": {"role": "assistant", "content": ""}}
        if not wanted.get("messages") and wanted["keep_alive"] == 0:
            return self._unloaded(model, wanted, silence)
        if model.is_embedding:
            raise _error(400, f'"{wanted["model"]}" does not support chat')
        runner = await self._load(model, wanted)
        if not wanted.get("messages") or runner is None:
            return json_answer(_final(wanted, silence, "load"))
        return await self._text(runner, wanted, chat=True)

    async def _embed(self, request: Request) -> Answer:
        wanted = _parse(request)
        model = self.models.get(canonical(str(wanted.get("model", ""))))
        if model is None:
            raise _error(404, f'model "{wanted.get("model", "")}" not found, try pulling it first')
        await self._load(model, wanted)
        texts = wanted.get("input", [])
        texts = [texts] if isinstance(texts, str) else texts
        if not texts:
            return json_answer({"model": wanted["model"], "embeddings": []})
        vectors = [[0.5 / (1 + place) for place in range(model.embedding_length)] for _ in texts]
        counts = {"total_duration": 1_000_000, "load_duration": 500_000, "prompt_eval_count": 3 * len(texts)}
        return json_answer({"model": wanted["model"], "embeddings": vectors} | counts)

    async def _pull(self, request: Request) -> Answer:
        wanted = _parse(request)
        name = _required_name(wanted)
        if not _NAME.fullmatch(name):
            raise _error(400, "invalid model name")
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
        wanted = _parse(request)
        source = self.models.get(canonical(str(wanted.get("source", ""))))
        if source is None:
            raise _error(404, f'model "{wanted.get("source", "")}" not found')
        name = canonical(str(wanted.get("destination", "")))
        self.models[name] = replace(source, name=name, blob=source.blob or source.name)
        return Answer(200)

    async def _delete(self, request: Request) -> Answer:
        name = _required_name(_parse(request))
        if self.models.pop(canonical(name), None) is None:
            raise _error(404, f"model '{name}' not found")
        return Answer(200)

    def _find(self, wanted: dict[str, Any]) -> SimulatedModel:
        name = str(wanted.get("model", ""))
        model = self.models.get(canonical(name))
        if model is None:
            raise _error(404, f"model '{name}' not found")
        return model

    async def _load(self, model: SimulatedModel, wanted: dict[str, Any]) -> Runner | None:
        options = _runner_options(wanted.get("options") or {})
        if model.is_broken:
            raise _error(500, 'tensor "blk.1.ffn_down.weight" offset+size (330464) exceeds file size (322032)')
        try:
            return await self.scheduler.load(model, options, wanted["keep_alive"])
        except QueueFull:
            raise _error(503, "server busy, please try again.  maximum pending requests exceeded") from None
        except SimulatedOutOfMemory as error:
            raise _error(500, _terminated("exit status 1", out_of_memory_text(error))) from error
        except RunnerDied:
            raise _error(500, _terminated("signal: killed", "")) from None

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


def _parse(request: Request) -> dict[str, Any]:
    """The request's object, ``keep_alive`` in seconds or ``None``."""
    try:
        wanted = parse_object(request.body)
        given = wanted.get("keep_alive")
        wanted["keep_alive"] = None if given is None else parse_keep_alive(given)
    except ValueError as error:
        raise _error(400, str(error)) from None
    return wanted


def _runner_options(given: dict[str, Any]) -> RunnerOptions:
    """The options that matter to a runner; others (and unknown ones) are ignored, as Ollama does."""
    chosen: dict[str, Any] = {}
    for option in fields(RunnerOptions):
        value = given.get(option.name)
        kind, word = (bool, "boolean") if option.name == "use_mmap" else (int, "integer")
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _error(500, f'option "{option.name}" must be of type {word}')
        chosen[option.name] = value
    return RunnerOptions(**chosen)


def _required_name(wanted: dict[str, Any]) -> str:
    name = wanted.get("model") or wanted.get("name")
    if not name:
        raise _error(400, "model is required")
    return str(name)


def _terminated(how: str, log: str) -> str:
    text = f"llama-server process has terminated: {how}"
    return f"{text}: {log}" if log else text


def _error(status: int, text: str) -> HttpError:
    return HttpError(json_answer({"error": text}, status))


async def _encoded(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
