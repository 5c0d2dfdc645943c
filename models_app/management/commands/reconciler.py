"""``manage.py reconciler``: sampling, looking at endpoints and reconciling, in a process of its own."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from models_app.inventory.hosts import ensure_local_host
from models_app.operations.reconciler import Reconciler
from models_app.runtime import background
from models_app.runtime.schema import WrongSchema, refuse_other_schema


class Command(BaseCommand):
    help = "Run the reconciler. Several may be started; one works, the others stand by."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.REDIS_URL:
            raise CommandError("REDIS_URL is empty: a single process is started by `manage.py up`.")
        try:
            refuse_other_schema()
            ensure_local_host()
        except WrongSchema as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        asyncio.run(self._run())

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        self.stdout.write("Reconciling.")
        await background.run(stop, Reconciler())
