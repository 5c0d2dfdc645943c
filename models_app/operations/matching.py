"""Whether a model in memory is what was asked for: the guard against reloading it by accident."""

from __future__ import annotations

from typing import Any

from models_app.backends.protocol import LoadOptions, ResidentModel
from models_app.inventory.models import LoadedModel, Residency

_NOT_IN_MEMORY = frozenset({"keep_alive_seconds", "pinned"})
"""Options that change nothing about how the model lies in memory."""
_OBSERVED = ("context_length", "parallel")


def differing_options(wanted: LoadOptions, loaded: LoadedModel | ResidentModel, residency: Residency | None) -> list[str]:
    """The names, in words, of the wanted options that the loaded model does not have or is not known to have.

    What the endpoint reports counts first, then what Berth recorded. An option left to the backend never differs.
    """
    recorded: dict[str, Any] = residency.options if residency else {}
    observed = {name: getattr(loaded, name) for name in _OBSERVED}
    given = {name: value for name, value in wanted.given().items() if name not in _NOT_IN_MEMORY}
    return [name.replace("_", " ") for name, value in given.items() if value != (observed.get(name) or recorded.get(name))]
