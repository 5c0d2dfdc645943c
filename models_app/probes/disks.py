"""How full the file systems are on which models lie."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from models_app.probes.deadline import BoundedCall
from models_app.probes.types import DiskSample

READ_SECONDS = 30.0
DEADLINE_SECONDS = 0.5


def model_folders() -> tuple[Path, ...]:
    """Where Ollama, llama.cpp and Hugging Face's tools keep models by default, and where the environment says."""
    home = Path.home()
    named = [os.environ.get(name, "") for name in ("OLLAMA_MODELS", "LLAMA_CACHE", "HF_HOME")]
    usual = (
        home / ".ollama/models",
        Path("/usr/share/ollama/.ollama/models"),
        home / ".cache/llama.cpp",
        home / ".cache/huggingface",
        Path("/models"),
    )
    return (*(Path(name) for name in named if name), *usual)


class ModelDisks:
    """The file systems under folders of models, read twice a minute.

    A network share may hang: then it is left out, the others with it until it answers, and nothing waits.
    """

    def __init__(
        self,
        folders: Callable[[], Sequence[Path]] = model_folders,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders = folders
        self._clock = clock
        self._due = clock()
        self._latest: tuple[DiskSample, ...] = ()
        self._reading = BoundedCall(self._read, "disks", DEADLINE_SECONDS)

    def sample(self) -> tuple[DiskSample, ...]:
        """Every file system once, by the first folder on it that exists."""
        if self._clock() >= self._due:
            self._due = self._clock() + READ_SECONDS
            self._reading.begin()
            try:
                self._latest = self._reading.result()
            except (TimeoutError, OSError, RuntimeError):
                self._latest = ()
        return self._latest

    def _read(self) -> tuple[DiskSample, ...]:
        found: dict[int, DiskSample] = {}
        for folder in self._folders():
            try:
                device, usage = folder.stat().st_dev, shutil.disk_usage(folder)
            except OSError:
                continue
            found.setdefault(device, DiskSample(str(folder), usage.total, usage.free))
        return tuple(found.values())
