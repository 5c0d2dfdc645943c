"""Ollama over HTTP (written against v0.33; recorded answers are in the tests)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from models_app.backends.base import LONG_PROMPT, HttpBackend, in_background
from models_app.backends.errors import BadAnswer, LoadFailed, NotFound, Rejected, ServerFault, UnsupportedOption
from models_app.backends.http import MIB, Call, Http
from models_app.backends.names import OLLAMA_REGISTRY, canonical_ollama_name, check_registry
from models_app.backends.ollama_answers import (
    generation,
    header_answer,
    installed_model,
    model_shape,
    needs_arrays,
    pull_progress,
    resident_model,
    version_warnings,
)
from models_app.backends.options import check_keep_alive, check_options
from models_app.backends.protocol import (
    BackendKind,
    Capability,
    EndpointInfo,
    Generation,
    HeaderAnswer,
    InstalledModel,
    LoadOptions,
    ModelShape,
    Observation,
    Progress,
)
from models_app.backends.shapes import Object, as_object, as_objects, text

CAPABILITIES = frozenset(
    {
        Capability.LOAD,
        Capability.UNLOAD,
        Capability.PULL,
        Capability.DELETE,
        Capability.KEEP_ALIVE,
        Capability.HEADER,
        Capability.GENERATE,
    }
)
LARGEST_HEADER_BYTES = 64 * MIB
"""A header with its vocabulary; the largest ones make some 30 MiB of JSON."""

_OPTION_NAMES = {"context_length": "num_ctx", "gpu_layers": "num_gpu", "batch": "num_batch"}
_NOT_FOR_TEXT = "does not support generate"
_BROKEN_FILE = re.compile(r"exceeds file size|GGUF format|invalid file magic|unknown model architecture", re.IGNORECASE)


class OllamaBackend(HttpBackend):
    """One Ollama server.

    ``gpu_index`` maps a GPU's UUID to the number by which this server knows it; without it ``gpu`` cannot be honoured.
    ``allowed_registries`` are the hosts from which models may be pulled.
    """

    PROGRAM = "Ollama"

    def __init__(
        self,
        http: Http,
        *,
        gpu_index: Mapping[str, int] | None = None,
        allowed_registries: frozenset[str] = frozenset({OLLAMA_REGISTRY}),
    ) -> None:
        super().__init__(http)
        self._gpu_index = dict(gpu_index or {})
        self._allowed_registries = allowed_registries
        self._load_options = frozenset({*_OPTION_NAMES, "keep_alive_seconds", "pinned"} | ({"gpu"} if gpu_index else set()))

    def canonical(self, name: str) -> str:
        return canonical_ollama_name(name)

    async def identify(self) -> EndpointInfo:
        answer = as_object(await self._http.json("GET", "/api/version"), "The version")
        version = text(answer.get("version"))
        if not version:
            raise BadAnswer("The answer names no version of Ollama.")
        return EndpointInfo(
            BackendKind.OLLAMA, "ollama", version, CAPABILITIES, self._load_options, version_warnings(version)
        )

    async def installed(self) -> list[InstalledModel]:
        return [installed_model(entry) for entry in await self._models("/api/tags") if text(entry.get("name"))]

    async def shape(self, name: str) -> ModelShape:
        return model_shape(await self._show({"model": self.canonical(name)}))

    async def header(self, name: str) -> HeaderAnswer:
        """Asked for without its arrays, and with them only where the model needs one: vocabularies make megabytes."""
        body: Object = {"model": self.canonical(name)}
        answer = await self._show(body)
        if needs_arrays(answer):
            answer = await self._show(body | {"verbose": True})
        return header_answer(answer)

    async def observe(self) -> Observation:
        models = await self._models("/api/ps")
        skew = self._http.clock_skew
        return Observation(tuple(resident_model(entry, skew) for entry in models if text(entry.get("name"))))

    async def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:
        """Ollama says nothing until it has loaded. Closing the generator closes the connection, which aborts the load."""
        body = self._load_body(name, options)
        async with in_background(self._occupy(body)) as loading:
            yield Progress("loading")
            await loading

    async def unload(self, name: str) -> None:
        body = {"model": self.canonical(name), "keep_alive": 0, "stream": False}
        await self._http.json("POST", "/api/generate", call=Call.COMMAND, body=body)

    async def set_keep_alive(self, name: str, seconds: int, options: LoadOptions) -> None:
        """As the protocol says. Where ``options`` hold no context length, the one that is loaded is repeated."""
        check_keep_alive(seconds)
        same = await self._as_loaded(name, options)
        await self._occupy(self._load_body(name, replace(same, keep_alive_seconds=seconds)))

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:
        """Without a keep-alive the model's own goes on; ``raw`` leaves out the template, and with it any thinking."""
        body = self._load_body(name, await self._as_loaded(name, options))
        body["options"] |= {"num_predict": most_tokens, "temperature": 0}
        asked = body | {"prompt": LONG_PROMPT, "raw": True}
        return generation(await self._http.json("POST", "/api/generate", call=Call.LOAD, body=asked))

    async def _as_loaded(self, name: str, options: LoadOptions) -> LoadOptions:
        """The options that repeat what is loaded, so that a call does not load it anew. Raises ``NotFound``."""
        resident = (await self.observe()).find(self.canonical(name))
        if resident is None:
            raise NotFound(f"{self.canonical(name)} is not loaded.")
        return replace(options, context_length=options.context_length or resident.context_length)

    async def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        body = {"model": check_registry(self.canonical(name), self._allowed_registries)}
        status = ""
        async with aclosing(self._http.lines("POST", "/api/pull", body=body)) as lines:
            async for line in lines:
                progress = pull_progress(line)
                status = progress.status
                yield progress
        if status != "success":
            raise BadAnswer("The download ended before it was complete.", hint="Pull again: it goes on where it stopped.")

    async def delete(self, name: str) -> None:
        await self._http.json("DELETE", "/api/delete", call=Call.COMMAND, body={"model": self.canonical(name)})

    async def _show(self, body: Object) -> Object:
        show = self._http.json("POST", "/api/show", call=Call.COMMAND, body=body, most_bytes=LARGEST_HEADER_BYTES)
        return as_object(await show, "The description of the model")

    async def _models(self, path: str) -> list[Object]:
        answer = as_object(await self._http.json("GET", path), "The list of models")
        if "models" not in answer:
            raise BadAnswer("The answer holds no list of models.")
        return as_objects(answer["models"], "The list of models")

    def _load_body(self, name: str, options: LoadOptions) -> Object:
        check_options(options, self._load_options)
        given = options.given()
        chosen: Object = {theirs: given[ours] for ours, theirs in _OPTION_NAMES.items() if ours in given}
        if options.gpu is not None:
            if options.gpu not in self._gpu_index:
                raise UnsupportedOption(f"This Ollama does not see the GPU {options.gpu}.", option="gpu")
            chosen["main_gpu"] = self._gpu_index[options.gpu]
        body: Object = {"model": self.canonical(name), "stream": False, "options": chosen}
        return body if options.keep_alive_seconds is None else body | {"keep_alive": options.keep_alive_seconds}

    async def _occupy(self, body: Object) -> None:
        """Returns when the model is in memory with these options.

        An embedding model refuses the usual call, whatever its listed capabilities say, so it is asked for the other way.
        """
        try:
            await self._http.json("POST", "/api/generate", call=Call.LOAD, body=body)
        except Rejected as error:
            if _NOT_FOR_TEXT not in error.message:
                raise
            await self._http.json("POST", "/api/embed", call=Call.LOAD, body=body | {"input": []})
        except ServerFault as error:
            if _BROKEN_FILE.search(error.message):
                raise LoadFailed(error.message, status=error.status, hint="Pull the model again.") from error
            raise
