"""What the owner of a machine allows Berth to start there: a file of theirs, read anew at every start.

    model_folders = ["/srv/models"]
    flags = ["--mlock", "--no-mmap"]     # beyond those that Berth sets from its own fields
    ports = [18000, 18999]
    log_folder = "/var/log/berth"        # by default beside the state
    start_seconds = 600                  # how long a model may take to load

    [llama_server]
    stable = "/opt/llama.cpp/llama-server"

    [ollama]
    stable = "/usr/local/bin/ollama"

    [environment]                        # given to the servers, beside PATH, HOME and the like
    GGML_CUDA_ENABLE_UNIFIED_MEMORY = "0"

Without the file nothing is allowed.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_app.backends.errors import NotAllowed

MAX_FILE_BYTES = 64 * 1024
DEFAULT_PORTS = (18_000, 18_999)
DEFAULT_START_SECONDS = 600.0
_OWN_FLAGS = """
    --model -m --alias -a --host --port --reuse-port --api-key --api-key-file --log-file --models-dir --models-preset
    --ctx-size -c --parallel -np --n-gpu-layers --gpu-layers -ngl --batch-size -b --threads -t --device -dev
    --cache-type-k -ctk --cache-type-v -ctv --flash-attn -fa
"""
RESERVED_FLAGS = frozenset(_OWN_FLAGS.split())
"""Berth sets these itself, or they would undo what it sets."""

_NUMBER = re.compile(r"-\d+(\.\d+)?")
_SETTINGS = {"model_folders", "flags", "ports", "log_folder", "start_seconds", "llama_server", "ollama", "environment"}


@dataclass(frozen=True, slots=True)
class Allowed:
    """``binaries`` and ``ollamas`` are programs by the names that the owner gave them; ``ports`` is an inclusive range."""

    source: Path
    binaries: Mapping[str, Path]
    model_folders: tuple[Path, ...]
    flags: frozenset[str] = frozenset()
    ports: tuple[int, int] = DEFAULT_PORTS
    log_folder: Path | None = None
    start_seconds: float = DEFAULT_START_SECONDS
    environment: Mapping[str, str] = field(default_factory=dict)
    ollamas: Mapping[str, Path] = field(default_factory=dict)

    def binary(self, name: str) -> Path:
        """The llama-server of that name, the first one for an empty name. Raises ``NotAllowed``."""
        return self._program(self.binaries, name, "llama-server")

    def ollama_binary(self, name: str) -> Path:
        """The same for an Ollama."""
        return self._program(self.ollamas, name, "Ollama")

    def _program(self, programs: Mapping[str, Path], name: str, kind: str) -> Path:
        path = programs.get(name) if name else next(iter(programs.values()), None)
        if path is None:
            raise NotAllowed(f"{self.source} names no {kind} {name or 'at all'}.", option="binary")
        try:
            real = path.resolve(strict=True)
            mode = real.stat().st_mode
        except OSError as error:
            raise NotAllowed(f"{path} cannot be started: {error.strerror}.", option="binary") from error
        if not stat.S_ISREG(mode) or not os.access(real, os.X_OK) or mode & stat.S_IWOTH:
            raise NotAllowed(f"{path} cannot be started: it is no program that only its owner writes.", option="binary")
        return real

    def model_file(self, path: str) -> Path:
        """The file that a path leads to, once every link is followed. Raises ``NotAllowed`` outside of the folders."""
        given = Path(path)
        outside = NotAllowed(f"{path} is outside of the model folders that {self.source} allows.", option="model")
        if not path.isprintable() or not given.is_absolute() or ".." in given.parts:
            raise NotAllowed("A model is named by its whole path, without “..”.", option="model")
        if not any(given.is_relative_to(folder) for folder in self.model_folders):
            raise outside
        try:
            real = given.resolve(strict=True)
        except OSError as error:
            raise NotAllowed(f"{path} cannot be read: {error.strerror}.", option="model") from error
        if not any(real.is_relative_to(folder.resolve()) for folder in self.model_folders):
            raise outside
        if not real.is_file() or given.suffix.lower() != ".gguf":
            raise NotAllowed(f"{path} is no GGUF file.", option="model")
        return real

    def model_folder(self, path: str) -> Path:
        """One of the folders, or one within. Raises ``NotAllowed``."""
        real = Path(path).resolve()
        if not real.is_dir() or not any(real.is_relative_to(folder.resolve()) for folder in self.model_folders):
            raise NotAllowed(f"{path} is no folder within those that {self.source} allows.", option="models")
        return real

    def check_flags(self, words: Iterable[str]) -> None:
        """Raises ``NotAllowed`` for a flag that the owner does not list. Whatever follows a flag is its value."""
        may_be_value = False
        for word in words:
            is_flag = word.startswith("-") and not (may_be_value and _NUMBER.fullmatch(word))
            if not is_flag and not may_be_value:
                raise NotAllowed(f"“{word}” follows no flag.", option="extra")
            if is_flag and word.partition("=")[0] not in self.flags:
                raise NotAllowed(f"{self.source} does not allow the flag {word.partition('=')[0]}.", option="extra")
            may_be_value = is_flag and "=" not in word


def read_allowed(path: Path) -> Allowed:
    """What the file allows. Raises ``NotAllowed`` with a sentence for a missing, unsafe or wrong one."""
    try:
        status = path.stat()
        if status.st_mode & stat.S_IWOTH or status.st_size > MAX_FILE_BYTES:
            raise NotAllowed(f"{path} is not heeded: everybody may write it, or it is larger than 64 KiB.")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "The owner of the machine writes it; docs/managed.md shows how."
        raise NotAllowed(f"Nothing may be started here: there is no file {path}.", hint=hint) from error
    except OSError as error:
        raise NotAllowed(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NotAllowed(f"{path} is no TOML: {error}.") from error
    try:
        return _allowed(path, table)
    except ValueError as error:
        raise NotAllowed(f"{path}: {error}") from error


def _allowed(path: Path, table: Mapping[str, Any]) -> Allowed:
    if unknown := sorted(table.keys() - _SETTINGS):
        raise ValueError(f"there is no setting {unknown[0]!r}.")
    flags = frozenset(_texts(table, "flags"))
    if reserved := sorted(flags & RESERVED_FLAGS):
        raise ValueError(f"the flag {reserved[0]} is set by Berth itself and cannot be given.")
    log_folder = table.get("log_folder")
    return Allowed(
        source=path,
        binaries={name: _absolute(text, "llama_server") for name, text in _words(table, "llama_server").items()},
        model_folders=tuple(_absolute(text, "model_folders") for text in _texts(table, "model_folders")),
        flags=flags,
        ports=_ports(table.get("ports", list(DEFAULT_PORTS))),
        log_folder=None if log_folder is None else _absolute(log_folder, "log_folder"),
        start_seconds=_seconds(table.get("start_seconds", DEFAULT_START_SECONDS)),
        environment=_words(table, "environment"),
        ollamas={name: _absolute(text, "ollama") for name, text in _words(table, "ollama").items()},
    )


def _texts(table: Mapping[str, Any], name: str) -> list[str]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(f"{name} is a list of texts.")
    return value


def _words(table: Mapping[str, Any], name: str) -> dict[str, str]:
    value = table.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"[{name}] is a table of texts.")
    return value


def _absolute(text: object, name: str) -> Path:
    path = Path(text) if isinstance(text, str) else Path()
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name}: write whole paths, without “..”.")
    return path


def _ports(value: object) -> tuple[int, int]:
    match value:
        case [int(low), int(high)] if 1024 <= low <= high <= 65_535:
            return low, high
    raise ValueError("ports is a range such as [18000, 18999], from 1024 to 65535.")


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 24 * 3600:
        raise ValueError("start_seconds is a number of seconds, at most a day.")
    return float(value)
