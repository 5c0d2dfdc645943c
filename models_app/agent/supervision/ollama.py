"""An Ollama server of its own on some GPUs: how it is to be started, as a value, and as a command with its environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from models_app.agent.supervision.allowed import Allowed
from models_app.agent.supervision.launch import HOST, Launch, environment
from models_app.agent.supervision.shown import shown
from models_app.agent.supervision.spec import Spec, check_gpus, check_limits
from models_app.backends.errors import InvalidOption

_LIMITS = {"parallel": (1, 1024), "context_length": (1, 100_000_000), "most_loaded": (1, 1024)}
_KEEP_ALIVE = re.compile(r"-1|\d{1,9}(ms|s|m|h)?")
CACHE_TYPES = ("f16", "q8_0", "q4_0")
MAX_TEXT_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class OllamaSpec(Spec):
    """``None`` and empty leave a choice to Ollama.

    ``name`` is what people call it and starts nothing else. ``models`` is the folder of its models, ``gpus`` are the UUIDs
    of those that it sees, none for the CPU alone, and ``binary`` is the allow-list's name of the program, empty for its
    first. ``context_length`` is tokens of one slot, ``keep_alive`` as Ollama writes it.
    """

    name: str = field(compare=False)
    models: str
    gpus: tuple[str, ...]
    binary: str = ""
    parallel: int | None = None
    context_length: int | None = None
    most_loaded: int | None = None
    keep_alive: str = ""
    flash_attention: bool | None = None
    kv_cache_type: str = ""

    @property
    def title(self) -> str:
        return f"The Ollama server {self.name}"

    def check(self) -> None:
        """Raises ``InvalidOption`` for a value that makes no sense."""
        for name in ("name", "models", "binary", "keep_alive", "kv_cache_type"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MAX_TEXT_LENGTH or not text.isprintable():
                raise InvalidOption("This is no text in one line.", option=name)
        check_limits(self, _LIMITS)
        check_gpus(self.gpus)
        if self.keep_alive and not _KEEP_ALIVE.fullmatch(self.keep_alive):
            raise InvalidOption("Write the time as in 30m, or -1 for ever.", option="keep_alive")
        if self.flash_attention not in (None, True, False):
            raise InvalidOption("It is on or off.", option="flash_attention")
        if self.kv_cache_type and self.kv_cache_type not in CACHE_TYPES:
            raise InvalidOption(f"The cache type is one of {', '.join(CACHE_TYPES)}.", option="kv_cache_type")


def launch_ollama(spec: OllamaSpec, allowed: Allowed, port: int, marker: str) -> Launch:
    """How to start the server. Raises ``NotAllowed`` and ``InvalidOption``: everything is checked here, at each start."""
    spec.check()
    program, folder = allowed.ollama_binary(spec.binary), allowed.model_folder(spec.models)
    fixed = {"OLLAMA_HOST": f"{HOST}:{port}", "OLLAMA_MODELS": str(folder)} | shown(spec.gpus)
    return Launch((str(program), "serve"), environment(allowed, marker) | _settings(spec) | fixed)


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
