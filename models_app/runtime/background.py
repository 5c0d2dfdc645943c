"""What goes on without anybody asking: sampling, looking at endpoints, tending servers, reconciling, alerting.

One event loop. The rhythms are spread over their periods, and none begins while something is urgent: all at once they would
hold up an operation for as long as they take together.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings

from models_app.agent_link import absence
from models_app.agent_link.absence import TICK_SECONDS as ABSENCE_SECONDS
from models_app.alerts.delivery.worker import DELIVER_SECONDS, Deliverer
from models_app.alerts.evaluator import EVALUATE_SECONDS
from models_app.inventory.server_hosts import supervisor
from models_app.inventory.watch import Watcher
from models_app.operations.reconciler import Reconciler
from models_app.plans import rhythm as plans
from models_app.plans.forgetting import FORGET_SECONDS, forget_old
from models_app.plans.predicting import preload
from models_app.plans.tasks import tell_again
from models_app.runtime.beside import ALERTS, HISTORY, Tick, attempt, here_or_beside
from models_app.runtime.part import Part
from models_app.telemetry.collector import Collector
from models_app.telemetry.history.maintenance import TICK_SECONDS
from models_app.telemetry.history.recorder import FLUSH_SECONDS, recorder
from models_app.telemetry.precedence import precedence

RECONCILE_SECONDS = 1.0
SOLVES_SECONDS = 30.0
PLANS_SECONDS = 1.0
PREDICT_SECONDS = 10.0
SUPERVISE_SECONDS = 1.0
EMBEDDED = "embedded"
"""The holder's name of the reconciler's lease: the lock on the data folder lets only one process use it."""


class Background(Part):
    """``run`` on an event loop of its own, so that a slow database write never delays a page."""

    def __init__(self) -> None:
        super().__init__("background")
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    def work(self) -> None:
        self._loop.run_until_complete(run(self._stop, Reconciler(EMBEDDED)))

    def ask_to_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


async def run(stop: asyncio.Event, reconciler: Reconciler) -> None:
    """Work until ``stop`` is set. While another reconciler leads, this one stands by: it neither samples nor looks.

    A tick that fails is logged and tried again at its next time.
    """
    collector, watcher = Collector(), Watcher()
    deliverer, servers = Deliverer(), supervisor()

    def while_leading(tick: Tick) -> Tick:
        async def tick_if_leading() -> None:
            if reconciler.leads:
                await tick()

        return tick_if_leading

    rhythms = (
        (RECONCILE_SECONDS, reconciler.tick),
        (settings.SAMPLE_SECONDS, while_leading(collector.tick)),
        (settings.OBSERVE_SECONDS, while_leading(watcher.tick)),
        (SUPERVISE_SECONDS, while_leading(sync_to_async(servers.tick, thread_sensitive=False))),
        (ABSENCE_SECONDS, while_leading(sync_to_async(absence.tick))),
        (FLUSH_SECONDS, sync_to_async(recorder.flush_when_due)),
        (TICK_SECONDS, while_leading(here_or_beside(HISTORY))),
        (FORGET_SECONDS, while_leading(sync_to_async(forget_old))),
        (EVALUATE_SECONDS, while_leading(here_or_beside(ALERTS))),
        (DELIVER_SECONDS, while_leading(deliverer.tick)),
        (SOLVES_SECONDS, while_leading(sync_to_async(tell_again))),
        (PREDICT_SECONDS, while_leading(sync_to_async(preload))),
        (PLANS_SECONDS, while_leading(sync_to_async(plans.tick))),
    )
    try:
        await attempt(reconciler.tick)  # so that the others know at their first tick
        async with asyncio.TaskGroup() as group:
            for place, (period_seconds, tick) in enumerate(rhythms):
                group.create_task(_every(period_seconds, tick, stop, place / len(rhythms)))
    finally:
        await attempt(sync_to_async(recorder.flush))
        await attempt(reconciler.resign)
        await watcher.aclose()


async def _every(period_seconds: float, tick: Tick, stop: asyncio.Event, first_after_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + first_after_seconds
    async with ThreadSensitiveContext():
        while not await _is_set_by(due, stop):
            await precedence.give_way_async()
            await attempt(tick)
            due = max(due + period_seconds, loop.time())


async def _is_set_by(due: float, stop: asyncio.Event) -> bool:
    """Whether ``stop`` is set at that time of the event loop, or before."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(due):
            await stop.wait()
    return stop.is_set()
