"""How long verified loads took, by model and host: cold, from the disk, and warm, while the host still had the file.

Nobody tells whether a file came from the page cache. A load counts as warm if the same host had the same model in memory
within ``WARM_FOR`` before, and as cold otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from models_app.catalog.models import Installation
from models_app.operations.models import OperationStep

WARM_FOR = timedelta(hours=1)
STEPS_READ = 5000
KEPT = 20
"""Of each kind the latest count: disks and files change."""
_LOADS = (OperationStep.Action.LOAD, OperationStep.Action.RESTORE)
_IN_MEMORY = (*_LOADS, OperationStep.Action.UNLOAD)


@dataclass(frozen=True, slots=True)
class LoadTime:
    """The loads of one model on one host, in seconds from the call to the measurement; the latest first.

    ``variant_id`` is ``None`` where it is not known which file the name stood for.
    """

    host_id: int
    host: str
    variant_id: int | None
    model: str
    cold: tuple[float, ...]
    warm: tuple[float, ...]
    last_at: datetime

    @property
    def cold_seconds(self) -> float | None:
        """The median of the cold loads."""
        return round(median(self.cold), 2) if self.cold else None

    @property
    def warm_seconds(self) -> float | None:
        """The median of the warm loads."""
        return round(median(self.warm), 2) if self.warm else None

    @property
    def expected_seconds(self) -> float:
        """What the next load is reckoned with: a cold one, where one was measured."""
        return self.cold_seconds or self.warm_seconds or 0.0


def load_times(variant_ids: Iterable[int] | None = None) -> list[LoadTime]:
    """Every host with a verified load of these variants, or of any model, by host and model."""
    installed = Installation.objects.all() if variant_ids is None else Installation.objects.filter(variant__in=variant_ids)
    variants = {
        (endpoint, name): variant for endpoint, name, variant in installed.values_list("endpoint", "name", "variant")
    }
    steps = OperationStep.objects.filter(action__in=_IN_MEMORY, state=OperationStep.State.DONE, finished_at__isnull=False)
    if variant_ids is not None:
        steps = steps.filter(model_name__in={name for _, name in variants})
    latest = steps.select_related("operation__endpoint__host").order_by("-pk")[:STEPS_READ]
    by_key: dict[tuple[int, int | str], list[OperationStep]] = {}
    for step in reversed(latest):
        endpoint = step.operation.site
        variant = variants.get((endpoint.pk, step.model_name))
        by_key.setdefault((endpoint.host_id, variant or step.model_name), []).append(step)
    found = [_load_time(key, listed) for key, listed in by_key.items()]
    return sorted((each for each in found if each.cold or each.warm), key=lambda each: (each.host, each.model))


def _load_time(key: tuple[int, int | str], steps: list[OperationStep]) -> LoadTime:
    cold: list[float] = []
    warm: list[float] = []
    before: datetime | None = None
    for step in steps:
        began, ended = step.started_at, step.finished_at
        if began and ended and step.action in _LOADS and step.verified_by:
            is_warm = before is not None and began - before <= WARM_FOR
            (warm if is_warm else cold).append((ended - began).total_seconds())
        before = ended
    host = steps[-1].operation.site.host
    return LoadTime(
        host_id=host.pk,
        host=host.name,
        variant_id=key[1] if isinstance(key[1], int) else None,
        model=steps[-1].model_name,
        cold=tuple(cold[: -KEPT - 1 : -1]),
        warm=tuple(warm[: -KEPT - 1 : -1]),
        last_at=before or steps[-1].operation.created_at,
    )
