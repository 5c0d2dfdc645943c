"""What endpoints report, written down: one row a loaded model, and whether the endpoint answers at all.

A look costs two reads while nothing changes. An observation that began before the latest change was recorded is dropped:
it may describe the time before that change.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from models_app.backends.errors import AddressRefused, BackendError, Unauthorized, Unreachable
from models_app.backends.protocol import Backend, Observation
from models_app.catalog.models import Installation
from models_app.inventory.connect import backend_for
from models_app.inventory.differences import Difference, difference_of, loaded_on, reported
from models_app.inventory.managed import absence, record_server
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.live import Topic, publish

SEEN_EVERY = timedelta(seconds=30)
"""``last_seen_at`` of an endpoint that reports nothing new is rewritten no more often than this."""


async def look(endpoint: Endpoint, backend: Backend | None = None) -> Observation:
    """What the endpoint says at this moment; nothing is recorded. Raises ``BackendError``."""
    if backend is not None:
        return await backend.observe()
    async with aclosing(await sync_to_async(backend_for)(endpoint)) as own:
        return await own.observe()


async def look_and_record(endpoint: Endpoint, backend: Backend | None = None) -> Observation:
    """What the endpoint says, recorded, as its failure to say it is. Raises ``BackendError``."""
    began_at = timezone.now()
    try:
        observation = await look(endpoint, backend)
    except BackendError as error:
        await sync_to_async(record_failure)(endpoint, error, began_at)
        raise
    await sync_to_async(record_observation)(endpoint, observation, began_at)
    return observation


def record_observation(endpoint: Endpoint, observation: Observation, at: datetime, *, is_news: bool = False) -> bool:
    """Make the rows say what was observed; whether anything that people see has changed.

    ``at`` is when the observation began. A model that is gone takes its row with it and marks its residency as lost.
    ``is_news``: something has changed, so that the rows are locked without a look at them before.
    """
    if not is_news and _tells_nothing(endpoint, observation, at):
        return False
    with transaction.atomic():
        known = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
        if _is_late(known, at):
            return False
        absent = absence(known, observation.server)
        difference = difference_of(known, observation, loaded_on(known))
        _apply(known, difference, at)
        _settle_failures(known, difference, observation)
        _set_state(known, **_state(absent), last_seen_at=at)
        publish(Topic.INVENTORY, known.pk)
    return True


def _tells_nothing(endpoint: Endpoint, observation: Observation, at: datetime) -> bool:
    """Whether it is late or what the rows say already; that it was seen is noted from time to time."""
    known = Endpoint.objects.get(pk=endpoint.pk)
    if _is_late(known, at):
        return True
    is_known = _is_in_state(known, absence(known, observation.server))
    if not is_known or difference_of(known, observation, loaded_on(known)):
        return False
    _touch([(known.pk, at)] if _is_unseen(known, at) else [])
    return True


def record_observations(found: Sequence[tuple[Endpoint, Observation, datetime]]) -> list[Endpoint]:
    """``record_observation`` for many endpoints that were just read; those of which it told something new.

    All that tell nothing new cost one query together, and one more now and then.
    """
    rows: dict[int, list[LoadedModel]] = {endpoint.pk: [] for endpoint, _, _ in found}
    for row in LoadedModel.objects.filter(endpoint__in=rows):
        rows[row.endpoint_id].append(row)
    changed, unseen = [], []
    for endpoint, observation, at in found:
        if _is_late(endpoint, at):
            continue
        is_known = _is_in_state(endpoint, absence(endpoint, observation.server))
        if not is_known or difference_of(endpoint, observation, rows[endpoint.pk]):
            changed += [endpoint] if record_observation(endpoint, observation, at) else []
        elif _is_unseen(endpoint, at):
            unseen.append((endpoint.pk, at))
    _touch(unseen)
    return changed


def record_failure(endpoint: Endpoint, error: BackendError, at: datetime) -> bool:
    """Remember why a look that began ``at`` failed; whether that is news. What was last seen in memory stays on record."""
    known = Endpoint.objects.get(pk=endpoint.pk)
    if _is_late(known, at) or _is_in_state(known, error) or not _set_state(known, **_state(error)):
        return False
    publish(Topic.INVENTORY, known.pk)
    return True


def state_after(error: BackendError) -> str:
    """The state of an endpoint that answers with this error."""
    if isinstance(error, Unauthorized):
        return Endpoint.State.UNAUTHORIZED
    if isinstance(error, Unreachable | AddressRefused):
        return Endpoint.State.UNREACHABLE
    return Endpoint.State.FAULTY


def _settle_failures(endpoint: Endpoint, difference: Difference, observation: Observation) -> None:
    """Remember why a model that has just gone failed; forget it for one that is loaded now.

    Only a change counts: a router repeats an old failure, even that of a process ended by request, until the next load.
    """
    failed = {row.name: observation.failed[row.name] for row in difference.gone if row.name in observation.failed}
    installations = Installation.objects.filter(endpoint_id=endpoint.pk)
    for name, reason in failed.items():
        installations.filter(name=name).update(last_failure=reason)
    if difference.loaded:
        installations.filter(name__in=difference.loaded).exclude(last_failure="").update(last_failure="")


def _apply(endpoint: Endpoint, difference: Difference, at: datetime) -> None:
    if difference.server:
        record_server(endpoint, difference.server)
    LoadedModel.objects.bulk_create(
        LoadedModel(endpoint=endpoint, name=model.name, first_seen_at=at, last_seen_at=at, **reported(model))
        for model in difference.appeared
    )
    for row, news in difference.changed:
        LoadedModel.objects.filter(pk=row.pk).update(**news, last_seen_at=at)
    if difference.gone:
        names = [row.name for row in difference.gone]
        LoadedModel.objects.filter(pk__in=[row.pk for row in difference.gone]).delete()
        Residency.objects.filter(endpoint=endpoint, name__in=names, lost_at=None).update(lost_at=at)


def _is_late(endpoint: Endpoint, at: datetime) -> bool:
    return endpoint.last_seen_at is not None and at < endpoint.last_seen_at


def _is_unseen(endpoint: Endpoint, at: datetime) -> bool:
    return endpoint.last_seen_at is None or at - endpoint.last_seen_at >= SEEN_EVERY


def _touch(seen: Sequence[tuple[int, datetime]]) -> None:
    """Endpoints, by their ids, and what is loaded there were seen: all of them at the earliest of these times."""
    if seen:
        ids, at = [endpoint_id for endpoint_id, _ in seen], min(at for _, at in seen)
        Endpoint.objects.filter(Q(last_seen_at=None) | Q(last_seen_at__lt=at), pk__in=ids).update(last_seen_at=at)
        LoadedModel.objects.filter(endpoint__in=ids, last_seen_at__lt=at).update(last_seen_at=at)


def _state(error: BackendError | None) -> dict[str, str]:
    """The columns for an endpoint that answers with this error, or without any."""
    if error is None:
        return {"state": Endpoint.State.ONLINE, "state_code": "", "state_message": "", "state_hint": ""}
    told = {"state_code": error.code, "state_message": error.message, "state_hint": error.hint}
    return {"state": state_after(error)} | told


def _is_in_state(endpoint: Endpoint, error: BackendError | None) -> bool:
    return all(getattr(endpoint, name) == value for name, value in _state(error).items() if name != "state_hint")


def _set_state(endpoint: Endpoint, **columns: Any) -> bool:
    """A guarded write: nothing happens if the state is no longer what was read."""
    as_read = Endpoint.objects.filter(pk=endpoint.pk, state=endpoint.state, state_code=endpoint.state_code)
    return bool(as_read.update(**columns))
