"""llama-server with one model: observed only, for its process is started and stopped on its host.

``/health``, ``/props`` and ``/v1/models`` neither wake a sleeping model nor reset its idle timer.
"""

from __future__ import annotations

from models_app.backends.base import HttpBackend
from models_app.backends.errors import BadAnswer, Busy, NotFound
from models_app.backends.http import Http
from models_app.backends.llama_answers import installed_from_meta, shape_from_meta
from models_app.backends.llama_generate import generate
from models_app.backends.names import check_served_name
from models_app.backends.protocol import (
    BackendKind,
    Capability,
    EndpointInfo,
    Generation,
    InstalledModel,
    LoadOptions,
    ModelShape,
    ModelState,
    Observation,
    ResidentModel,
)
from models_app.backends.shapes import Object, as_object, as_objects, count, part, text


class LlamaSingleBackend(HttpBackend):
    """One llama-server that serves the model it was started with."""

    PROGRAM = "A llama-server with one model"
    REASON = "its process is started and stopped on its host"

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        self._known_name = ""

    def canonical(self, name: str) -> str:
        """Without an alias the server calls its model by the path of its file, so paths are names here."""
        return check_served_name(name)

    async def identify(self) -> EndpointInfo:
        """While the model loads the server tells no version."""
        try:
            props = await self._props()
        except Busy:
            props = {}
        version = text(props.get("build_info"))
        capabilities = frozenset({Capability.GENERATE})
        return EndpointInfo(BackendKind.LLAMA_SERVER, "single", version, capabilities, frozenset({"pinned"}))

    async def installed(self) -> list[InstalledModel]:
        props, (name, meta) = await self._props(), await self._model()
        return [installed_from_meta(name, meta, text(props.get("model_path")))]

    async def shape(self, name: str) -> ModelShape:
        known, meta = await self._model()
        return shape_from_meta(meta) if known == self.canonical(name) else ModelShape()

    async def observe(self) -> Observation:
        """While the model loads every path answers 503, so its name is known only if it was seen before."""
        try:
            props, (name, meta) = await self._props(), await self._model()
        except Busy:
            loading = (ResidentModel(self._known_name, ModelState.LOADING),) if self._known_name else ()
            return Observation(loading)
        return Observation((_resident(name, meta, props),))

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:  # noqa: ARG002
        """A sleeping model is not woken."""
        resident = (await self.observe()).find(self.canonical(name))
        if resident is None or resident.state is not ModelState.LOADED:
            raise NotFound(f"{name} is not loaded.")
        return await generate(self._http, resident.name, most_tokens)

    async def _props(self) -> Object:
        props = as_object(await self._http.json("GET", "/props"), "The properties")
        if "total_slots" not in props:
            raise BadAnswer("This is no llama-server with one model.")
        return props

    async def _model(self) -> tuple[str, Object]:
        answer = as_object(await self._http.json("GET", "/v1/models"), "The list of models")
        models = as_objects(answer.get("data"), "The list of models")
        if not models or not text(models[0].get("id")):
            raise BadAnswer("The answer names no model.")
        self._known_name = text(models[0].get("id"))
        return self._known_name, part(models[0], "meta")


def _resident(name: str, meta: Object, props: Object) -> ResidentModel:
    settings = part(props, "default_generation_settings")
    return ResidentModel(
        name=name,
        state=ModelState.SLEEPING if props.get("is_sleeping") is True else ModelState.LOADED,
        size_bytes=count(meta.get("size")),
        context_length=count(settings.get("n_ctx")) or count(meta.get("n_ctx")) or None,
        parallel=count(props.get("total_slots")) or None,
    )
