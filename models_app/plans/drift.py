"""The difference between the active plan and what endpoints report, in words and with the time where it is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils import timezone

from models_app.backends.protocol import ModelState
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.matching import differing_options
from models_app.operations.models import Operation
from models_app.plans.models import Plan
from models_app.plans.records import Instance, instances

LEAVING_WITHIN = timedelta(seconds=2)
"""A model whose keep-alive ends so soon is on its way out: what was asked of it now would find it gone."""


class Drift(StrEnum):
    """How a model differs from the plan."""

    MISSING = "missing"
    OPTIONS = "options"
    KEEP_ALIVE = "keep_alive"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Difference:
    """One model that is not as the plan has it. ``instance`` is ``None`` for one that the plan does not know.

    ``is_ours``: Berth set its options and was never asked to give it up, so that enforcing may touch it.
    """

    drift: Drift
    endpoint_id: int
    endpoint: str
    model: str
    sentence: str
    instance: Instance | None = None
    at: datetime | None = None
    is_ours: bool = False


Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is observed and intended, by endpoint and name."""

    loaded: dict[Key, LoadedModel]
    residencies: dict[Key, Residency]


def drift(plan: Plan) -> tuple[Difference, ...]:
    """The differences, those of the plan's own models first. Endpoints that do not answer are left out."""
    wanted = instances(plan.instances)
    online = {row.pk: row.name for row in Endpoint.objects.filter(state=Endpoint.State.ONLINE)}
    seen = _Seen(
        {(row.endpoint_id, row.name): row for row in LoadedModel.objects.filter(endpoint__in=online)},
        {(row.endpoint_id, row.name): row for row in Residency.objects.filter(endpoint__in=online)},
    )
    own = [found for each in wanted if each.endpoint_id in online and (found := _of(plan, each, seen))]
    known = {(each.endpoint_id, each.model) for each in wanted}
    return (*own, *_extra(known, online, seen))


def _of(plan: Plan, instance: Instance, seen: _Seen) -> Difference | None:
    key = (instance.endpoint_id, instance.model)
    loaded, residency = seen.loaded.get(key), seen.residencies.get(key)
    if loaded is None:
        return None if instance.swapped else _missing(plan, instance, residency)
    if instance.foreign or instance.fixed or _is_leaving(loaded):
        return None
    is_ours = residency is not None and residency.lost_at is None
    differing = differing_options(instance.load_options, loaded, residency)
    if differing:
        what = " and ".join(differing)
        sentence = f"{instance.model} on {instance.endpoint} is loaded with another {what} than planned."
        return _difference(Drift.OPTIONS, instance, sentence, is_ours=is_ours)
    if _is_kept(instance) and not loaded.kept_forever:
        until = f"; it would leave at {_clock(loaded.expires_at)}" if loaded.expires_at else ""
        sentence = f"A client has overridden the keep-alive of {instance.model} on {instance.endpoint}{until}."
        return _difference(Drift.KEEP_ALIVE, instance, sentence, is_ours=is_ours)
    return None


def _is_leaving(loaded: LoadedModel) -> bool:
    """Whether it will be missed in a moment."""
    ends = loaded.expires_at
    is_over = ends is not None and not loaded.kept_forever and ends <= timezone.now() + LEAVING_WITHIN
    return is_over or loaded.state == ModelState.STOPPING


def _missing(plan: Plan, instance: Instance, residency: Residency | None) -> Difference:
    if residency is not None and residency.lost_at is not None:
        sentence = f"{instance.model} was unloaded from {instance.endpoint} by someone at {_clock(residency.lost_at)}."
        return _difference(Drift.MISSING, instance, sentence, at=residency.lost_at, is_ours=not instance.fixed)
    unloads = Operation.objects.filter(state=Operation.State.SUCCEEDED, targets__endpoint_id=instance.endpoint_id)
    unload = unloads.filter(targets__model_name=instance.model, finished_at__gte=plan.applied_at).order_by("-pk").first()
    if unload is None or residency is not None:
        sentence = f"{instance.model} is not loaded on {instance.endpoint}."
        return _difference(Drift.MISSING, instance, sentence, is_ours=residency is not None and not instance.fixed)
    at = _clock(unload.finished_at)
    sentence = f"{instance.model} was unloaded from {instance.endpoint} by {unload.requested_by} at {at}."
    return _difference(Drift.MISSING, instance, sentence, at=unload.finished_at)


def _extra(known: set[Key], online: dict[int, str], seen: _Seen) -> Iterator[Difference]:
    for (endpoint_id, model), row in seen.loaded.items():
        if (endpoint_id, model) not in known:
            residency = seen.residencies.get((endpoint_id, model))
            by = residency.requested_by if residency and residency.lost_at is None else "another client"
            endpoint, since = online[endpoint_id], row.first_seen_at
            sentence = f"{model} is loaded on {endpoint} by {by} since {_clock(since)}; the plan does not have it."
            yield Difference(Drift.EXTRA, endpoint_id, endpoint, model, sentence, at=since)


def _difference(
    kind: Drift, instance: Instance, sentence: str, *, at: datetime | None = None, is_ours: bool = False
) -> Difference:
    return Difference(kind, instance.endpoint_id, instance.endpoint, instance.model, sentence, instance, at, is_ours)


def _is_kept(instance: Instance) -> bool:
    keep_alive = instance.load_options.keep_alive_seconds
    return keep_alive is not None and keep_alive < 0


def _clock(moment: datetime | None) -> str:
    return f"{timezone.localtime(moment):%H:%M}" if moment else "an unknown time"
