"""What an observation of an endpoint says that the rows do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from models_app.backends.protocol import ModelState, Observation, ResidentModel
from models_app.inventory.managed import server_news
from models_app.inventory.models import Endpoint, LoadedModel

MAX_NAME_LENGTH = 255
MAX_INTEGER = 2**31 - 1


@dataclass
class Difference:
    """What has to be written: models by what became of them, and columns of the server."""

    appeared: list[ResidentModel] = field(default_factory=list)
    changed: list[tuple[LoadedModel, dict[str, Any]]] = field(default_factory=list)
    gone: list[LoadedModel] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.appeared or self.changed or self.gone or self.server)

    @property
    def loaded(self) -> list[str]:
        """Names of the models that are now loaded and were not before."""
        appeared = [model.name for model in self.appeared if model.state is ModelState.LOADED]
        return appeared + [row.name for row, news in self.changed if news.get("state") == ModelState.LOADED]


def loaded_on(endpoint: Endpoint) -> list[LoadedModel]:
    """What its rows say is in memory."""
    return list(LoadedModel.objects.filter(endpoint=endpoint).order_by("name"))


def difference_of(endpoint: Endpoint, observation: Observation, loaded: Iterable[LoadedModel]) -> Difference:
    """What has to be written where ``loaded`` are the endpoint's rows."""
    rows = {row.name: row for row in loaded}
    resident = {model.name: model for model in observation.resident if len(model.name) <= MAX_NAME_LENGTH}
    gone = [row for name, row in rows.items() if name not in resident]
    difference = Difference(gone=gone, server=server_news(endpoint, observation.server))
    for name, model in resident.items():
        if name not in rows:
            difference.appeared.append(model)
        elif news := _news(rows[name], model):
            difference.changed.append((rows[name], news))
    return difference


def _news(row: LoadedModel, model: ResidentModel) -> dict[str, Any]:
    return {name: value for name, value in reported(model).items() if getattr(row, name) != value}


def reported(model: ResidentModel) -> dict[str, Any]:
    """The columns that an endpoint fills, cut to what they can hold."""
    return {
        "state": model.state.value,
        "digest": model.digest[:80],
        "size_bytes": model.size_bytes,
        "vram_bytes": model.vram_bytes,
        "context_length": _small(model.context_length),
        "parallel": _small(model.parallel),
        "expires_at": model.expires_at,
        "kept_forever": model.kept_forever,
        "process_id": _small(model.process_id),
    }


def _small(number: int | None) -> int | None:
    return None if number is None else min(number, MAX_INTEGER)
