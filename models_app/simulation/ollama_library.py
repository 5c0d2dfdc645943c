"""The models on the disk of a simulated Ollama: listed, shown, pulled, copied and deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Any

from models_app.simulation import ollama_requests as requests
from models_app.simulation.asgi import Application
from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.messages import Answer, Request, json_answer, ndjson_answer
from models_app.simulation.ollama_describe import installed, show
from models_app.simulation.ollama_pull import download_lines, manifest_error
from models_app.simulation.ollama_requests import canonical
from models_app.simulation.runner import Timing


class Library:
    """What one server has installed, and what it can pull from its registry."""

    def __init__(
        self, application: Application, models: Iterable[SimulatedModel], registry: Iterable[SimulatedModel], timing: Timing
    ) -> None:
        self.models = {canonical(model.name): replace(model, name=canonical(model.name)) for model in models}
        self.registry = {canonical(model.name): model for model in registry}
        self.timing = timing
        application.route("GET", "/api/tags", self._tags)
        application.route("GET", "/v1/models", self._openai_models)
        application.route("POST", "/api/show", self._show)
        application.route("POST", "/api/pull", self._pull)
        application.route("POST", "/api/copy", self._copy)
        application.route("DELETE", "/api/delete", self._delete)

    def find(self, name: str) -> SimulatedModel | None:
        """The installed model of that name, with or without its tag."""
        return self.models.get(canonical(name))

    async def _tags(self, _request: Request) -> Answer:
        newest_first = sorted(self.models.items(), key=lambda entry: entry[1].modified_at, reverse=True)
        return json_answer({"models": [installed(name, model) for name, model in newest_first]})

    async def _openai_models(self, _request: Request) -> Answer:
        data = [
            {"id": name, "object": "model", "created": int(model.modified_at.timestamp()), "owned_by": "library"}
            for name, model in self.models.items()
        ]
        return json_answer({"object": "list", "data": data}, content_type="application/json")

    async def _show(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        name = requests.required_name(wanted)
        model = self.find(name)
        if model is None:
            raise requests.error(404, f"model '{canonical(name)}' not found")
        return json_answer(show(model, verbose=bool(wanted.get("verbose"))))

    async def _pull(self, request: Request) -> Answer:
        wanted = requests.parse(request)
        name = requests.required_name(wanted)
        if not requests.is_possible_name(name):
            raise requests.error(400, "invalid model name")
        lines = self._pull_lines(name, insecure=bool(wanted.get("insecure")))
        if wanted.get("stream", True):
            return ndjson_answer(lines)
        last = [line async for line in lines][-1]
        return json_answer(last, 500 if "error" in last else 200, "application/json")

    async def _pull_lines(self, name: str, *, insecure: bool) -> AsyncGenerator[dict[str, Any], None]:
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
