"""``manage.py worker``: carries out operations and solves plans, in a process of its own."""

from __future__ import annotations

import os

from django.conf import settings
from django.db import connections

from controlpanel.celery import app
from models_app.management.several import OneOfSeveral

OPTIONS = ("--pool", "threads", "--loglevel", "INFO", "--without-gossip", "--without-mingle")


class Command(OneOfSeveral):
    help = "Carry out operations and solve plans. Several may be started."

    def work(self) -> None:
        """Take messages until a signal."""
        connections.close_all()
        self.stdout.write("Working.")
        many = ("--concurrency", str(settings.WORKER_CONCURRENCY), "--hostname", f"{os.getpid()}@%h")
        app.worker_main(["--quiet", "worker", *OPTIONS, *many])
