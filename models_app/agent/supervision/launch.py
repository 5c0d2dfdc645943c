"""From a spec to a command line and an environment. No shell reads either."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models_app.agent.supervision.allowed import Allowed
from models_app.agent.supervision.shown import shown
from models_app.agent.supervision.spec import ServerSpec

HOST = "127.0.0.1"
MARKER = "BERTH_MANAGED"
"""A variable by which a server and everything that it starts is known as one of Berth's."""
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "TZ")
"""What a server gets of the environment of Berth, which holds secrets."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is executed. ``argv`` begins with the program's own path."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def launch(spec: ServerSpec, allowed: Allowed, port: int, key_file: Path, marker: str) -> Launch:
    """How to start the server. Raises ``NotAllowed`` and ``InvalidOption``: everything is checked here, at each start."""
    spec.check()
    allowed.check_flags(spec.extra)
    program, model = allowed.binary(spec.binary), allowed.model_file(spec.model)
    variables = shown(spec.gpus) if spec.gpus or spec.gpu_layers == 0 else {}
    fixed = (
        "--model",
        str(model),
        "--alias",
        spec.name,
        "--host",
        HOST,
        "--port",
        str(port),
        "--api-key-file",
        str(key_file),
    )
    return Launch((str(program), *fixed, *settings(spec), *spec.extra), environment(allowed, marker) | variables)


def settings(spec: ServerSpec) -> tuple[str, ...]:
    """The part of the command line that moves memory; ``backends.llama_launch`` reads it."""
    slots = spec.parallel or 1
    flash_attention = None if spec.flash_attention is None else ("on" if spec.flash_attention else "off")
    values = {
        "--ctx-size": spec.context_length and spec.context_length * slots,
        "--parallel": slots,
        "--n-gpu-layers": spec.gpu_layers,
        "--batch-size": spec.batch,
        "--cache-type-k": spec.cache_type_k,
        "--cache-type-v": spec.cache_type_v,
        "--flash-attn": flash_attention,
        "--threads": spec.threads,
    }
    words = tuple(word for flag, value in values.items() if value is not None for word in (flag, str(value)))
    switch = {None: (), True: ("--kv-offload",), False: ("--no-kv-offload",)}[spec.kv_offload]
    return (*words, *switch)


def environment(allowed: Allowed, marker: str) -> dict[str, str]:
    """What every server gets: what is passed on, what the owner gives, and the mark."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return kept | dict(allowed.environment) | {MARKER: marker}
