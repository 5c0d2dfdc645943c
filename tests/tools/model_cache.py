"""The models that the tests load, written once into ``.cache/models``. Delete that folder to have them written anew."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

from tests.tools.gguf_weights import Shape
from tests.tools.make_gguf import write_model

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "models"


def _write_truncated(path: Path) -> None:
    """Write a file that begins as a model and ends before its weights, so that a load of it fails."""
    whole = FOLDER / "tiny-llama.gguf"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


WRITERS: dict[str, Callable[[Path], object]] = {
    "tiny-llama": write_model,
    "tiny-qwen2": lambda path: write_model(path, arch="qwen2"),
    "tiny-bert": lambda path: write_model(path, arch="bert"),
    "m100": lambda path: write_model(path, shape=Shape(embedding_length=512), target_mb=100),
    "m500": lambda path: write_model(path, shape=Shape(embedding_length=1024), target_mb=500),
    "broken": _write_truncated,
}


def cached_models() -> dict[str, Path]:
    """The model files by name: tiny ones, ``m100`` and ``m500`` (of so many MB), and ``broken``, a truncated one."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = {name: FOLDER / f"{name}.gguf" for name in WRITERS}
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, path in paths.items():
            if not path.exists():
                WRITERS[name](path)
    return paths
