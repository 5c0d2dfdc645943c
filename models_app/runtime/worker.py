"""The Celery worker of the embedded panel: a thread of this process over the in-memory broker."""

from __future__ import annotations

import threading
from typing import Any

from celery.worker import WorkController
from django.conf import settings

from controlpanel.celery import app
from models_app.runtime.part import Part


class EmbeddedWorker(Part):
    """Runs tasks in threads of this process. What still runs some seconds after ``stop`` is left to its lease."""

    def __init__(self) -> None:
        super().__init__("worker")
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

    def work(self) -> None:
        self._controller.start()

    def ask_to_stop(self) -> None:
        # The controller returns only when the last task has ended, which may take as long as a load.
        threading.Thread(target=self._controller.stop, name="berth-worker-stop", daemon=True).start()
