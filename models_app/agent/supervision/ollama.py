"""An Ollama server of its own on some GPUs: how it is to be started, as a value, and its command line and environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models_app.agent.supervision.allowed import Allowed
from models_app.agent.supervision.launch import HOST, Launch, environment, launch
from models_app.agent.supervision.spec import ServerSpec, Spec, check_gpus, check_limits
from models_app.backends.errors import InvalidOption

_LIMITS = {"parallel": (1, 1024), "context_length": (1, 100_000_000), "most_loaded": (1, 1024)}
_KEEP_ALIVE = re.compile(r"-1|\d{1,9}(ms|s|m|h)?")
_CACHE_TYPES = ("", "f16", "q8_0", "q4_0")


@dataclass(frozen=True, slots=True)
class OllamaSpec(Spec):
    """``None`` and empty leave a choice to Ollama.

    ``models`` is the folder of its models, ``gpus`` are the UUIDs of those that it sees, and ``binary`` is the allow-list's
    name of the program, empty for its first. ``context_length`` is tokens of one slot, ``keep_alive`` as Ollama writes it.
    """

    name: str
    models: str
    gpus: tuple[str, ...]
    binary: str = ""
    parallel: int | None = None
    context_length: int | None = None
    most_loaded: int | None = None
    keep_alive: str = ""
    flash_attention: bool | None = None
    kv_cache_type: str = ""

    def check(self) -> None:
        """Raises ``InvalidOption`` for a value that makes no sense."""
        texts = (self.name, self.models, self.binary, self.keep_alive, self.kv_cache_type)
        if not all(isinstance(text, str) for text in texts):
            raise InvalidOption("Names, folders and times are texts.")
        check_limits(self, _LIMITS)
        check_gpus(self.gpus)
        if not self.gpus:
            raise InvalidOption("Name the GPUs that it may use.", option="gpus")
        if self.keep_alive and not _KEEP_ALIVE.fullmatch(self.keep_alive):
            raise InvalidOption("Write the time as in 30m, or -1 for ever.", option="keep_alive")
        if self.flash_attention not in (None, True, False):
            raise InvalidOption("It is on or off.", option="flash_attention")
        if self.kv_cache_type not in _CACHE_TYPES:
            raise InvalidOption(f"One of {', '.join(_CACHE_TYPES[1:])}.", option="kv_cache_type")


def launch_of(spec: Spec, allowed: Allowed, port: int, key_file: Path, marker: str) -> Launch:
    """How to start any server. Raises ``NotAllowed`` and ``InvalidOption``: everything is checked here, at each start."""
    if isinstance(spec, ServerSpec):
        return launch(spec, allowed, port, key_file, marker)
    assert isinstance(spec, OllamaSpec)  # noqa: S101 - there is no third kind
    spec.check()
    program, folder = allowed.ollama_binary(spec.binary), allowed.model_folder(spec.models)
    shown = {"OLLAMA_HOST": f"{HOST}:{port}", "OLLAMA_MODELS": str(folder), "CUDA_VISIBLE_DEVICES": ",".join(spec.gpus)}
    return Launch((str(program), "serve"), environment(allowed, marker) | _settings(spec) | shown)


def _settings(spec: OllamaSpec) -> dict[str, str]:
    values = {
        "OLLAMA_NUM_PARALLEL": spec.parallel,
        "OLLAMA_CONTEXT_LENGTH": spec.context_length,
        "OLLAMA_MAX_LOADED_MODELS": spec.most_loaded,
        "OLLAMA_KEEP_ALIVE": spec.keep_alive or None,
        "OLLAMA_FLASH_ATTENTION": None if spec.flash_attention is None else int(spec.flash_attention),
        "OLLAMA_KV_CACHE_TYPE": spec.kv_cache_type or None,
    }
    return {name: str(value) for name, value in values.items() if value is not None}
