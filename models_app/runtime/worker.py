"""The Celery worker of the embedded panel: a thread of this process over the in-memory broker."""

from __future__ import annotations

import threading
from typing import Any

from celery.worker import WorkController
from django.conf import settings

from controlpanel.celery import app


class EmbeddedWorker:
    """Runs tasks in threads of this process. ``crashed`` is set when the worker ends without having been stopped."""

    def __init__(self) -> None:
        self._controller: Any = WorkController(
            app=app,
            pool="threads",
            concurrency=settings.WORKER_CONCURRENCY,
            hostname="embedded@localhost",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
        )
        self._thread = threading.Thread(target=self._run, name="berth-worker", daemon=True)
        self._stopping = False
        self.crashed: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait(self) -> None:
        """Return when the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._controller.start()
        except BaseException as error:
            self.crashed = error
        if not self._stopping and self.crashed is None:
            self.crashed = RuntimeError("the worker ended by itself")

    def stop(self, timeout_seconds: float = 5) -> None:
        """Take no more tasks and wait for the running ones, at most ``timeout_seconds``; their leases cover the rest."""
        self._stopping = True
        stopper = threading.Thread(target=self._controller.stop, name="berth-worker-stop", daemon=True)
        stopper.start()
        stopper.join(timeout_seconds)
        self._thread.join(timeout_seconds)
