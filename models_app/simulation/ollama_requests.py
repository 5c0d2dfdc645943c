"""What a simulated Ollama makes of a request: names, options, keep-alives, and its words of refusal."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from models_app.simulation.devices import SimulatedOutOfMemory
from models_app.simulation.golang import parse_keep_alive, parse_object
from models_app.simulation.messages import HttpError, Request, json_answer
from models_app.simulation.ollama_runner import RunnerOptions
from models_app.simulation.runner import out_of_memory_text

_NAME = re.compile(r"(?:https?://)?[A-Za-z0-9][\w.:/-]*")
_LOCAL_HOST = re.compile(r"(?:localhost|[\d.]+|\[[0-9a-f:]+\]|.*\.(?:localhost|local|internal))(?::\d+)?", re.IGNORECASE)


def canonical(name: str) -> str:
    """The name as Ollama lists it: without a scheme, with a tag."""
    bare = re.sub(r"^https?://", "", name)
    return bare if ":" in bare.rsplit("/", 1)[-1] else f"{bare}:latest"


def is_possible_name(name: str) -> bool:
    """Whether a model could bear the name."""
    return _NAME.fullmatch(name) is not None


def is_local_host(header: str) -> bool:
    """Whether Ollama on loopback accepts the ``Host`` header."""
    return _LOCAL_HOST.fullmatch(header) is not None


def error(status: int, text: str) -> HttpError:
    """An answer with only an error."""
    return HttpError(json_answer({"error": text}, status))


def parse(request: Request) -> dict[str, Any]:
    """The request's object, with ``keep_alive`` in seconds or ``None``. Raises the 400 of a bad body."""
    try:
        wanted = parse_object(request.body)
        given = wanted.get("keep_alive")
        wanted["keep_alive"] = None if given is None else parse_keep_alive(given)
    except ValueError as problem:
        raise error(400, str(problem)) from None
    return wanted


def required_name(wanted: dict[str, Any]) -> str:
    """The model's name as given. Raises the 400 of a request without one."""
    name = wanted.get("model") or wanted.get("name")
    if not name:
        raise error(400, "model is required")
    return str(name)


def runner_options(wanted: dict[str, Any]) -> RunnerOptions:
    """The options that matter to a runner; others, unknown ones too, are ignored, as Ollama does."""
    given = wanted.get("options") or {}
    chosen = {option.name: given[option.name] for option in fields(RunnerOptions) if given.get(option.name) is not None}
    for name, value in chosen.items():
        kind, word = (bool, "boolean") if name == "use_mmap" else (int, "integer")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise error(500, f'option "{name}" must be of type {word}')
    return RunnerOptions(**chosen)


def out_of_memory(problem: SimulatedOutOfMemory) -> HttpError:
    """The 500 of a load that did not fit."""
    return error(500, f"llama-server process has terminated: exit status 1: {out_of_memory_text(problem)}")
