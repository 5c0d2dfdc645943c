"""The bounded question to a scheduler that may hang: for a model that it has in memory already.

It changes nothing: the model is one that Berth loaded, asked for with the options and the keep-alive that it has. It is
asked only where a load stands still, once in ten minutes for an endpoint, and given up after ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.utils import timezone

from models_app.alerts.rules.facts import Facts, Knock
from models_app.alerts.rules.past import Past
from models_app.backends.errors import BackendError
from models_app.backends.protocol import Backend, BackendKind, LoadOptions, ModelState
from models_app.inventory.connect import backend_for
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.options import FOREVER_SECONDS, stored_options

log = logging.getLogger(__name__)

SUSPICIOUS = timedelta(seconds=60)
"""A load that has not moved for so long is worth a question."""
KNOCK_EVERY = timedelta(minutes=10)
KNOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Question:
    backend: Backend
    model: str
    keep_alive_seconds: int
    options: LoadOptions


class Knocker:
    """Knocks where that is due, and remembers the answers."""

    def __init__(self) -> None:
        self.answers: dict[int, Knock] = {}
        self._knocking: dict[int, asyncio.Task[None]] = {}
        self._asked_at: dict[int, datetime] = {}

    def begin(self, facts: Facts, past: Past) -> None:
        """Knock at every endpoint with a load that stands still. Does not wait for the answers."""
        self._forget(facts.at)
        for endpoint_id in suspects(facts, past):
            if endpoint_id not in self._asked_at:
                self._asked_at[endpoint_id] = facts.at
                self._knocking[endpoint_id] = asyncio.create_task(self._knock(endpoint_id))

    async def settled(self) -> None:
        """Wait until every knock has its answer, or none."""
        if self._knocking:
            await asyncio.wait(self._knocking.values())

    def _forget(self, now: datetime) -> None:
        for endpoint_id in [each for each, at in self._asked_at.items() if now - at >= KNOCK_EVERY]:
            del self._asked_at[endpoint_id]
            self._knocking.pop(endpoint_id, None)
            self.answers.pop(endpoint_id, None)

    async def _knock(self, endpoint_id: int) -> None:
        try:
            question = await sync_to_async(_question)(endpoint_id)
            if question is not None:
                self.answers[endpoint_id] = await _asked(question)
        except Exception:
            log.exception("endpoint %s could not be asked whether it still schedules", endpoint_id)


def suspects(facts: Facts, past: Past) -> set[int]:
    """The endpoints that answer, yet have a load that stands still."""
    online = {endpoint.id for _, endpoint in facts.endpoints() if endpoint.is_online}
    still = (load for load in facts.loads if _stands_still(past, load.operation_id, facts.at))
    return {load.endpoint_id for load in still} & online


def _stands_still(past: Past, operation_id: int, now: datetime) -> bool:
    rise = past.rises.get(operation_id)
    return rise is not None and now - rise.since >= SUSPICIOUS


async def _asked(question: _Question) -> Knock:
    """An error is an answer, too: the scheduler has looked at the request."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with aclosing(question.backend) as backend:
        try:
            async with asyncio.timeout(KNOCK_SECONDS):
                await backend.set_keep_alive(question.model, question.keep_alive_seconds, question.options)
        except TimeoutError:
            return Knock(timezone.now(), None)
        except BackendError as error:
            return Knock(timezone.now(), None if error.retryable else loop.time() - began)
    return Knock(timezone.now(), loop.time() - began)


def _question(endpoint_id: int) -> _Question | None:
    """``None`` where no model is in memory that Berth knows the options of: a wrong one would reload it."""
    endpoint = Endpoint.objects.get(pk=endpoint_id)
    if endpoint.kind != BackendKind.OLLAMA:
        return None
    for loaded in LoadedModel.objects.filter(endpoint=endpoint, state=ModelState.LOADED):
        residency = Residency.objects.filter(endpoint=endpoint, name=loaded.name, lost_at=None).first()
        if residency is not None:
            return _Question(backend_for(endpoint), loaded.name, _left_seconds(loaded), stored_options(residency.options))
    return None


def _left_seconds(loaded: LoadedModel) -> int:
    if loaded.kept_forever or loaded.expires_at is None:
        return FOREVER_SECONDS
    return max(1, round((loaded.expires_at - timezone.now()).total_seconds()))
