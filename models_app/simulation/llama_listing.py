"""How a router lists a model, loaded or not."""

from __future__ import annotations

import time
from typing import Any

from models_app.simulation import llama_describe as describe
from models_app.simulation.llama_children import Child


def entry(child: Child, context: int, *, metrics: bool) -> dict[str, Any]:
    """An entry of ``/models``. ``context`` and ``metrics`` are the router's flags, which it hands to every child."""
    entry = {
        "id": child.name,
        "aliases": [],
        "tags": [],
        "object": "model",
        "owned_by": "llamacpp",
        "created": int(time.time()),
        "status": _status(child, context, metrics=metrics),
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "source": "cache" if child.model.removable else "models_dir",
        "can_remove": child.model.removable,
    }
    return entry | {"meta": describe.meta(child.model, context)} if child.value == "loaded" else entry


def _status(child: Child, context: int, *, metrics: bool) -> dict[str, Any]:
    switches = ["--metrics"] if metrics else []
    args = ["llama-server", "--host", "127.0.0.1", *switches, "--port", str(child.port), "--alias", child.name]
    preset = f"[{child.name}]\n" + ("metrics = 1\n" if metrics else "")
    status = {
        "value": child.value,
        "args": [*args, "--ctx-size", str(context), "--model", child.path],
        "preset": f"{preset}ctx-size = {context}\nmodel = {child.path}\n\n",
    }
    return status | {"exit_code": child.exit_code, "failed": True} if child.exit_code else status
