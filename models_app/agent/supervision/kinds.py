"""The two kinds of servers that Berth starts: llama-servers for one model each, and Ollama servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_app.agent.supervision.allowed import Allowed
from models_app.agent.supervision.launch import Launch, launch
from models_app.agent.supervision.ollama import OllamaSpec, launch_ollama
from models_app.agent.supervision.spec import ServerSpec, Spec


def spec_from_json(value: Mapping[str, Any]) -> Spec:
    """What ``Spec.as_json`` of either kind has made; only an Ollama has a folder of models. Raises ``InvalidOption``."""
    return OllamaSpec.from_json(value) if "models" in value else ServerSpec.from_json(value)


def launch_of(spec: Spec, allowed: Allowed, port: int, key_file: Path, marker: str) -> Launch:
    """How to start either. Raises ``NotAllowed`` and ``InvalidOption``: everything is checked here, at each start."""
    if isinstance(spec, OllamaSpec):
        return launch_ollama(spec, allowed, port, marker)
    assert isinstance(spec, ServerSpec)  # noqa: S101 - there is no third kind
    return launch(spec, allowed, port, key_file, marker)
