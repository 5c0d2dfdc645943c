"""``manage.py reconciler``: sampling, looking at endpoints and reconciling, in a process of its own."""

from __future__ import annotations

import asyncio
import signal

from models_app.inventory.hosts import ensure_local_host
from models_app.management.several import OneOfSeveral
from models_app.operations.reconciler import Reconciler
from models_app.runtime import background


class Command(OneOfSeveral):
    help = "Run the reconciler. Several may be started; one works, the others stand by."

    def prepare(self) -> None:
        """The machine that it samples."""
        ensure_local_host()

    def work(self) -> None:
        """Reconcile, or stand by."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        self.stdout.write("Reconciling.")
        await background.run(stop, Reconciler())
