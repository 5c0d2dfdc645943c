"""A worker that can be killed at any of its seams: before every write to the database and every call with an effect.

Before the next is after the last; reads in between change nothing that another worker could find.

``python -m tests.operations.mortal_worker DATABASE HOST_ID SAMPLE_URL`` reads lines ``OPERATION_ID SEAM`` and works the
operation off, and whatever an apply makes of its steps, in a child process that kills itself with SIGKILL at that seam. It
answers ``killed``, or ``survived`` and the names of all seams that it passed.
"""

# ruff: noqa: E402 - Django must know its database before anything of it is imported
from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.conf import settings

DATABASE, HOST_ID, SAMPLE_URL = sys.argv[1:]
settings.DATABASES["default"]["NAME"] = DATABASE
django.setup()

from models_app.agent import codec
from models_app.backends.http import Http
from models_app.inventory.models import Host
from models_app.operations import advance, records
from models_app.operations.database import Database
from models_app.operations.models import Operation
from models_app.operations.tasks import run_operation
from models_app.probes.types import HostSample
from models_app.telemetry import sources

WRITES = (records.take, records.as_owner, records.finish, records.put_back)


class RemoteProbe:
    """The GPUs of the simulated machine in the test's process."""

    def sample(self) -> HostSample:
        with urllib.request.urlopen(SAMPLE_URL) as answer:
            return codec.made(HostSample, json.load(answer))

    def close(self) -> None:
        """Nothing to release."""


class Seams:
    """The names of the seams that are passed; the chosen one, counted from 1, is the last."""

    def __init__(self, last: int) -> None:
        self._last = last
        self.names: list[str] = []

    def passed(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def counted(function: Callable[..., Any], seams: Seams) -> Callable[..., Any]:
    """The function, with a seam before it."""

    def passing(*args: Any) -> Any:
        seams.passed(function.__name__)
        return function(*args)

    return passing


def work(operation_id: int, seam: int) -> list[str]:
    """Work the operation off, and die at the seam; else the names of all that were passed."""
    seams = Seams(seam)
    unit, call = Database.__call__, Http.json

    async def counted_unit(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function in WRITES:
            seams.passed(function.__name__)
        return await unit(self, function, *args, **kwargs)

    async def counted_call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method != "GET":
            seams.passed(f"{method} {args[0]}")
        return await call(self, method, *args, **kwargs)

    Database.__call__, Http.json = counted_unit, counted_call  # type: ignore[method-assign, assignment]
    for name in ("_claim", "submit", "_refuse"):
        setattr(advance, name, counted(getattr(advance, name), seams))
    run_operation(operation_id)
    while part := Operation.objects.filter(part_of__operation=operation_id, state="queued").first():
        run_operation(part.pk)
    return seams.names


def main() -> None:
    sources.register(Host(pk=int(HOST_ID)), RemoteProbe())
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        operation_id, seam = map(int, line.split())
        child = os.fork()
        if child == 0:
            print("survived", *work(operation_id, seam), sep="\t", flush=True)  # noqa: T201
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            print("killed", flush=True)  # noqa: T201


main()
