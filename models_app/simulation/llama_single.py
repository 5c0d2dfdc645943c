"""A simulated llama-server with one model, which it loads when it starts."""

from __future__ import annotations

import asyncio

from models_app.simulation import llama_answers as answers
from models_app.simulation import llama_describe as describe
from models_app.simulation.asgi import Application
from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.devices import SimulatedOutOfMemory
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.memory import footprint, place
from models_app.simulation.messages import Answer, Request
from models_app.simulation.ollama_text import words
from models_app.simulation.runner import RunnerDied, Timing, fill


class LlamaServerSimulator(Application):
    """A llama-server started with ``--model``. ``context_length`` is that of one slot, in tokens.

    ``ready`` is set when the model is loaded; every path answers 503 until then. A load that fails sets ``exit_code``, and
    every connection is closed from then on.
    """

    unknown_path = wrong_method = answers.FILE_NOT_FOUND

    def __init__(
        self,
        host: SimulatedHost,
        model: SimulatedModel,
        *,
        alias: str = "",
        context_length: int = 8192,
        slots: int = 4,
        api_key: str | None = None,
        metrics: bool = False,
        show_slots: bool = True,
        changeable_props: bool = False,
        timing: Timing | None = None,
        control: bool = False,
    ) -> None:
        super().__init__(control=control)
        self.host = host
        self.model = model
        self.path = f"/srv/models/{model.name}.gguf"
        self.alias = alias or self.path
        self.context_length = context_length
        self.slots = slots
        self.api_key = api_key
        self.metrics = metrics
        self.show_slots = show_slots
        self.changeable_props = changeable_props
        self.timing = timing or Timing()
        self.ready = asyncio.Event()
        self.exit_code: int | None = None
        self.server_pid = host.spawn("llama-server")
        self.busy = 0
        self._add_routes()

    def pids(self) -> list[int]:
        """The server's only process."""
        return [self.server_pid]

    def model_pids(self) -> dict[str, list[int]]:
        """The process, which serves its only model."""
        return {self.alias: [self.server_pid]}

    async def start(self) -> None:
        if not self.host.is_alive(self.server_pid):
            self.server_pid = self.host.spawn("llama-server")
        self.ready.clear()
        self.exit_code = None
        self.background(self._load())

    async def stop(self) -> None:
        await super().stop()
        self.host.end(self.server_pid)

    async def guard(self, request: Request) -> Answer | None:
        if self.exit_code is not None:
            raise ConnectionAbortedError
        refused = answers.refusal(request, self.api_key)
        if refused is not None:
            return refused
        return None if self.ready.is_set() else answers.LOADING

    async def _load(self) -> None:
        seconds = self.timing.load_seconds(self.model.file_bytes)
        try:
            placement = place(footprint(self.model, self.context_length * self.slots), self.host)
            await fill(self.host, self.server_pid, placement, seconds, self.faults)
        except (SimulatedOutOfMemory, RunnerDied):
            self.exit_code = 1
            return
        self.ready.set()

    def _add_routes(self) -> None:
        self.route("GET", "/health", self._health)
        self.route("GET", "/v1/health", self._health)
        self.route("GET", "/models", self._models)
        self.route("GET", "/v1/models", self._models)
        self.route("GET", "/props", self._props)
        self.route("GET", "/slots", self._slots)
        self.route("GET", "/metrics", self._metrics)
        self.route("POST", "/props", self._change_props)
        self.route("POST", "/v1/chat/completions", self._chat)
        self.route("POST", "/v1/embeddings", self._openai_embeddings)
        self.route("POST", "/embedding", self._embedding)

    async def _health(self, _request: Request) -> Answer:
        return answers.answer({"status": "ok"})

    async def _models(self, _request: Request) -> Answer:
        return answers.answer(
            {
                "models": [self._ollama_entry()],
                "object": "list",
                "data": [describe.listed(self.alias, self.model, self.context_length)],
            }
        )

    async def _props(self, _request: Request) -> Answer:
        switches = {"slots": self.show_slots, "props": self.changeable_props, "metrics": self.metrics}
        told = describe.props(self.alias, self.model, self.path, self.slots, self.context_length, switches)
        return answers.answer(told)

    async def _change_props(self, _request: Request) -> Answer:
        if not self.changeable_props:
            raise answers.not_supported("changing global properties", "--props")
        return answers.answer({"success": True})

    async def _slots(self, _request: Request) -> Answer:
        if not self.show_slots:
            raise answers.not_supported("slots endpoint", "--slots")
        return answers.answer(describe.slots(self.slots, self.context_length, self.busy))

    async def _metrics(self, _request: Request) -> Answer:
        if not self.metrics:
            raise answers.not_supported("metrics endpoint", "--metrics")
        return describe.metrics(self.busy)

    async def _chat(self, request: Request) -> Answer:
        wanted = answers.parse(request)
        if "messages" not in wanted:
            raise answers.invalid("'messages' is required")
        if self.model.is_embedding:
            raise answers.writes_no_text()
        tokens = words(int(wanted.get("max_tokens", 16)))
        self.busy += 1
        try:
            await asyncio.sleep(self.timing.token_seconds * len(tokens))
        finally:
            self.busy -= 1
        return answers.answer(describe.chat_completion(self.alias, self.model, "".join(tokens), len(tokens)))

    async def _embedding(self, request: Request) -> Answer:
        vectors = self._vectors(answers.parse(request).get("content", []))
        return answers.answer([{"index": index, "embedding": [vector]} for index, vector in enumerate(vectors)])

    async def _openai_embeddings(self, request: Request) -> Answer:
        vectors = self._vectors(answers.parse(request).get("input", []))
        usage = {"prompt_tokens": 3 * len(vectors), "total_tokens": 3 * len(vectors)}
        data = [{"embedding": vector, "index": index, "object": "embedding"} for index, vector in enumerate(vectors)]
        return answers.answer({"model": self.alias, "object": "list", "usage": usage, "data": data})

    def _vectors(self, texts: str | list[str]) -> list[list[float]]:
        if not self.model.is_embedding:
            raise answers.not_supported("embeddings", "--embeddings")
        count = 1 if isinstance(texts, str) else len(texts)
        return [[0.5 / (1 + place) for place in range(self.model.embedding_length)]] * count

    def _ollama_entry(self) -> dict[str, object]:
        """The entry in Ollama's style that llama-server adds, most of it empty."""
        details = {"parent_model": "", "format": "gguf", "family": "", "families": [""], "parameter_size": ""}
        empty = dict.fromkeys(("modified_at", "size", "digest"), "")
        return {
            "name": self.alias,
            "model": self.alias,
            **empty,
            "type": "model",
            "description": "",
            "tags": [""],
            "capabilities": ["embedding" if self.model.is_embedding else "completion"],
            "parameters": "",
            "details": details | {"quantization_level": ""},
        }
