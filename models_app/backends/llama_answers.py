"""Readings of what llama-server answers: pure functions from decoded JSON to the protocol's values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models_app.backends.errors import BadAnswer
from models_app.backends.llama_launch import launch_settings
from models_app.backends.protocol import Generation, InstalledModel, ModelShape, ModelState, Progress, ResidentModel
from models_app.backends.shapes import Object, as_object, as_objects, count, decoded, number, part, text, texts

RESIDENT_STATES = {
    "loading": ModelState.LOADING,
    "loaded": ModelState.LOADED,
    "sleeping": ModelState.SLEEPING,
    "unloading": ModelState.STOPPING,
}
_ABSENT_STATES = frozenset({"downloading"})


@dataclass(frozen=True, slots=True)
class RouterEntry:
    """One model of a router's list. ``failure`` says why its process ended, empty where it did not fail."""

    name: str
    status: str
    args: tuple[str, ...]
    meta: Object
    failure: str
    download: Object
    path: str

    def flag(self, *names: str) -> str:
        """The value that follows one of these flags on its process's command line, or an empty text."""
        pairs = zip(self.args, self.args[1:], strict=False)
        return next((value for flag, value in pairs if flag in names), "")

    def number(self, *names: str) -> int | None:
        """The same as a positive number, or ``None``."""
        value = self.flag(*names)
        return (int(value) or None) if value.isascii() and value.isdigit() and len(value) < 12 else None

    @property
    def is_installed(self) -> bool:
        return self.status not in _ABSENT_STATES


def router_entries(answer: object) -> list[RouterEntry]:
    """From a router's ``/models``. Raises ``BadAnswer`` where the answer is no router's."""
    data = as_object(answer, "The list of models").get("data")
    if data is None:
        raise BadAnswer("The answer holds no list of models.")
    return [_router_entry(entry) for entry in as_objects(data, "The list of models") if text(entry.get("id"))]


def _router_entry(entry: Object) -> RouterEntry:
    status = part(entry, "status")
    return RouterEntry(
        name=text(entry.get("id")),
        status=text(status.get("value")),
        args=tuple(texts(status.get("args"))),
        meta=part(entry, "meta"),
        failure=_failure(status),
        download=part(status, "progress"),
        path=text(entry.get("path")),
    )


def _failure(status: Object) -> str:
    if status.get("failed") is not True:
        return ""
    code = status.get("exit_code")
    return f"Its server process ended with exit code {code}." if isinstance(code, int) else "Its server process ended."


def resident_from_router(entry: RouterEntry) -> ResidentModel:
    """A model that has a process. The context is the server's own figure, or while it loads its flag over its slots."""
    parallel = entry.number("--parallel", "-np")
    asked = entry.number("--ctx-size", "-c")
    return ResidentModel(
        name=entry.name,
        state=RESIDENT_STATES[entry.status],
        size_bytes=count(entry.meta.get("size")),
        context_length=count(entry.meta.get("n_ctx")) or (asked and asked // (parallel or 1)),
        parallel=parallel,
        port=entry.number("--port"),
    )


def installed_from_router(entry: RouterEntry) -> InstalledModel:
    """The size is known only while the model is loaded."""
    model = installed_from_meta(entry.name, entry.meta, entry.path or entry.flag("--model", "-m"))
    launch = launch_settings(entry.args)
    return replace(model, is_embedding=bool(launch.get("embedding")), launch=launch)


def installed_from_meta(name: str, meta: Object, path: str) -> InstalledModel:
    """From the ``meta`` object that llama-server adds to a loaded model."""
    return InstalledModel(
        name=name,
        size_bytes=count(meta.get("size")) or 0,
        quantization=text(meta.get("ftype")),
        parameter_count=count(meta.get("n_params")),
        path=path,
    )


def shape_from_meta(meta: Object) -> ModelShape:
    """llama-server tells neither layers nor heads."""
    return ModelShape(
        embedding_length=count(meta.get("n_embd")),
        training_context_length=count(meta.get("n_ctx_train")),
        parameter_count=count(meta.get("n_params")),
    )


def generation(answer: object) -> Generation:
    """From a completion's ``timings``. Raises ``BadAnswer`` where there are none."""
    timings = part(as_object(answer, "The text"), "timings")
    token_count, milliseconds = count(timings.get("predicted_n")), number(timings.get("predicted_ms"))
    if not token_count or not milliseconds:
        raise BadAnswer("The answer does not say how many tokens it wrote in which time.")
    return Generation(token_count, milliseconds / 1000)


def download_progress(progress: Object) -> Progress:
    """From ``{url: {"done", "total"}}``: the sum over all files."""
    files = [part(progress, url) for url in progress]
    done = sum(count(file.get("done")) or 0 for file in files)
    total = sum(count(file.get("total")) or 0 for file in files)
    return Progress("downloading", done, total, min(done / total, 1.0)) if total else Progress("downloading")


def load_event(line: bytes, name: str) -> Progress | None:
    """What a line of ``/models/sse`` says of the model's load, or ``None`` where it says nothing of it.

    ``progress.value`` runs from 0 to 1 within each of ``progress.stages``.
    """
    if not line.startswith(b"data:"):
        return None
    try:
        event = decoded(line[5:])
    except BadAnswer:
        return None
    if not isinstance(event, dict) or event.get("model") != name:
        return None
    data = part(event, "data")
    status = text(data.get("status"))
    return Progress(status, fraction=_load_fraction(part(data, "progress"))) if status else None


def _load_fraction(progress: Object) -> float | None:
    value, stages, current = progress.get("value"), texts(progress.get("stages")), text(progress.get("current"))
    if not isinstance(value, int | float) or not 0 <= value <= 1 or current not in stages:
        return None
    return (stages.index(current) + value) / len(stages)
