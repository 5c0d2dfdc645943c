"""What the panel can read of a model's file on its own host, where the endpoint only names the path."""

from __future__ import annotations

import re
from pathlib import Path

from models_app.backends.file_headers import shape_of_header
from models_app.backends.protocol import ModelShape
from models_app.gguf.errors import GgufError
from models_app.gguf.splits import read_model

_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


def model_bytes(path: str) -> int:
    """The size of a model's file, all its parts together; 0 where it cannot be seen."""
    first = Path(path)
    try:
        split = _SPLIT.search(first.name)
        if split is None:
            return first.stat().st_size if first.is_file() else 0
        stem = first.name[: split.start()]
        return sum(part.stat().st_size for part in first.parent.iterdir() if _is_part(part, stem))
    except OSError:
        return 0


def _is_part(path: Path, stem: str) -> bool:
    return path.name.startswith(stem) and _SPLIT.fullmatch(path.name[len(stem) :]) is not None


def shape_of_file(path: str) -> ModelShape | None:
    """The numbers of a GGUF file's header; ``None`` where there is no readable one."""
    if not path.lower().endswith(".gguf") or not Path(path).is_file():
        return None
    try:
        return shape_of_header(read_model(path))
    except (GgufError, OSError):
        return None
