"""How a server is to be started, as a value; and so a llama-server."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from models_app.backends.errors import InvalidOption
from models_app.backends.names import check_served_name

MAX_EXTRA_WORDS = 64
MAX_WORD_LENGTH = 1000
_LIMITS = {
    "context_length": (1, 100_000_000),
    "parallel": (1, 1024),
    "gpu_layers": (0, 10_000),
    "batch": (1, 1_000_000),
    "threads": (1, 4096),
}
_UUID = re.compile(r"[A-Za-z0-9._:/-]{1,96}")
_CACHE_TYPE = re.compile(r"[a-z0-9_]{1,12}")


class Spec(ABC):
    """What all kinds of servers have in common: they are frozen dataclasses that check themselves."""

    __slots__ = ()
    name: str
    gpus: tuple[str, ...]

    @abstractmethod
    def check(self) -> None:
        """Raises ``InvalidOption`` or ``InvalidName`` for a value that makes no sense."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is started, in words."""

    @property
    def digest(self) -> str:
        """The same for two specs that start the same server, and are therefore equal."""
        compared = {field.name: getattr(self, field.name) for field in fields(self) if field.compare}  # type: ignore[arg-type]
        return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:32]

    def as_json(self) -> dict[str, Any]:
        """A JSON object from which ``from_json`` makes the spec again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The spec. Raises ``InvalidOption`` where this is none."""
        try:
            known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
            chosen: dict[str, Any] = {name: item for name, item in value.items() if name in known}
            lists = {name: tuple(chosen[name]) for name in ("gpus", "extra") if isinstance(chosen.get(name), list)}
            spec = cls(**(chosen | lists))
            spec.check()
        except (TypeError, AttributeError) as error:
            raise InvalidOption("This is no description of a server.") from error
        return spec


@dataclass(frozen=True, slots=True)
class ServerSpec(Spec):
    """``None`` leaves a choice to llama-server.

    ``name`` is what the server calls its model, ``model`` the path of its file (of the first, where it is split) and
    ``binary`` the allow-list's name of the program, empty for its first. ``gpus`` are UUIDs; none means every GPU, or with
    0 ``gpu_layers`` no GPU at all. ``context_length`` is tokens of one slot; ``extra`` are further words of the command
    line.
    """

    name: str
    model: str
    binary: str = ""
    gpus: tuple[str, ...] = ()
    context_length: int | None = None
    parallel: int | None = None
    gpu_layers: int | None = None
    batch: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    flash_attention: bool | None = None
    kv_offload: bool | None = None
    threads: int | None = None
    extra: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"The llama-server of {self.name}"

    def check(self) -> None:
        """Raises ``InvalidOption`` or ``InvalidName`` for a value that makes no sense."""
        check_served_name(self.name)
        check_limits(self, _LIMITS)
        if (self.context_length or 1) * (self.parallel or 1) > _LIMITS["context_length"][1]:
            raise InvalidOption("Context times slots is more than any server counts.", option="context_length")
        check_gpus(self.gpus)
        for name in ("cache_type_k", "cache_type_v"):
            if not _CACHE_TYPE.fullmatch(getattr(self, name) or "f16"):
                raise InvalidOption(f"{getattr(self, name)} is no cache type.", option=name)
        are_words = isinstance(self.extra, tuple) and len(self.extra) <= MAX_EXTRA_WORDS
        if not are_words or not all(_is_word(word) for word in self.extra):
            raise InvalidOption("These are too many, too long or unprintable words.", option="extra")


def check_limits(spec: Spec, limits: Mapping[str, tuple[int, int]]) -> None:
    """Raises ``InvalidOption`` for a number beyond its limits."""
    for name, (least, most) in limits.items():
        value = getattr(spec, name)
        if value is not None and not least <= value <= most:
            raise InvalidOption(f"{name} is {value}, but from {least:,} to {most:,}.", option=name)


def check_gpus(gpus: tuple[str, ...]) -> None:
    """Raises ``InvalidOption`` for what are no UUIDs, each once."""
    is_set = isinstance(gpus, tuple) and len(set(gpus)) == len(gpus)
    if not is_set or not all(_UUID.fullmatch(uuid) for uuid in gpus):
        raise InvalidOption("GPUs are given by their UUIDs, each once.", option="gpus")


def _is_word(word: object) -> bool:
    return isinstance(word, str) and 0 < len(word) <= MAX_WORD_LENGTH and word.isprintable()
