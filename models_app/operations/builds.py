"""Which generation of llama.cpp an endpoint runs, by the version that it tells."""

from __future__ import annotations

import re

from models_app.backends.protocol import BackendKind
from models_app.estimator.profiles import CURRENT, BuildProfile, build_profile
from models_app.inventory.models import Endpoint

FIRST_OLLAMA_ON_LLAMA_SERVER = (0, 30)
"""Before it, Ollama ran models with a runner of its own."""
_OWN_RUNNER = "ollama-before-0.30"

_LLAMA_BUILDS = (
    (9450, "llama.cpp-2026-06"),
    (7210, "llama.cpp-2025-12"),
    (6060, "llama.cpp-2025-08"),
    (5430, "llama.cpp-2025-05"),
    (2, "llama.cpp-2024"),
)
"""The first release (``b9450``) of each generation; a build from a shallow clone calls itself ``b1`` or ``b0``."""


def has_own_runner(endpoint: Endpoint) -> bool:
    """Whether it is an Ollama from before it ran models with llama-server. A build from source calls itself 0.0.0."""
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})", endpoint.version)
    version = tuple(int(number) for number in numbers.groups()) if numbers else (0, 0)
    return endpoint.kind == BackendKind.OLLAMA and (0, 0) < version < FIRST_OLLAMA_ON_LLAMA_SERVER


def profile_of(endpoint: Endpoint) -> BuildProfile:
    """The rules that the endpoint's build follows; today's where its version tells nothing."""
    if endpoint.kind == BackendKind.OLLAMA:
        return build_profile(_OWN_RUNNER) if has_own_runner(endpoint) else CURRENT
    found = re.match(r"b(\d{1,9})\b", endpoint.version)
    number = int(found[1]) if found else 0
    return next((build_profile(name) for first, name in _LLAMA_BUILDS if number >= first), CURRENT)
