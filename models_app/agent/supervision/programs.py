"""Which build of llama-server a program is."""

from __future__ import annotations

import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path

from models_app.agent.supervision.launch import PASSED_ON

_SECONDS = 20.0
_MOST_CHARACTERS = 10_000
_RELEASE = re.compile(r"version: (\d{1,9}) \((\w{1,40})\)")
_BUILD = re.compile(r"build (\d{1,9}), commit (\w{1,40})")


def version_of(program: Path) -> str:
    """The build as the server itself tells it once it runs (``b6060-0c1e570``); empty where the program does not say.

    Raises ``OSError`` where there is no such program.
    """
    status = program.stat()
    return _version(program, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _version(program: Path, _changed_ns: int, _size_bytes: int) -> str:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        told = subprocess.run(
            [str(program), "--version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = told.stdout[:_MOST_CHARACTERS].decode(errors="replace")
    found = _RELEASE.search(words) or _BUILD.search(words)
    return f"b{found[1]}-{found[2]}" if found else ""
