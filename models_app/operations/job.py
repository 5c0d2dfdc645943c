"""One operation at work: its rows, its lease, the endpoint it talks to, and the database it writes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.utils import timezone

from models_app.backends.protocol import Backend
from models_app.inventory.models import Endpoint
from models_app.operations import records
from models_app.operations.database import Database
from models_app.operations.expected import Expected
from models_app.operations.expected import expected as read_expected
from models_app.operations.handover import Handover
from models_app.operations.models import Operation, OperationLog, OperationStep
from models_app.operations.outcomes import Outcome
from models_app.operations.records import Lease, Line, News
from models_app.operations.reservations import used_by_gpu
from models_app.operations.urgency import Urgency
from models_app.operations.verify import Reading, risen
from models_app.probes.types import HostSample
from models_app.telemetry.attribution import held_by, model_pids
from models_app.telemetry.resident import model_ram_bytes
from models_app.telemetry.sources import sample_now_async

SAMPLE_EVERY_SECONDS = 0.2
"""As often as progress is written."""
MOST_SERVER_LINES = 400
"""Of a server's own log, kept with one operation."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Job:
    """One operation in the hands of one runner.

    ``fresh`` is a reading, with its model's name, that no step used yet; ``begun`` the step that was begun with its plan;
    ``expected`` what admission knew of the load; ``handed`` what the request has read, until it is used.
    """

    operation: Operation
    lease: Lease
    steps: list[OperationStep]
    database: Database
    backend: Backend
    urgency: Urgency
    handed: Handover | None = None
    fresh: tuple[str, Reading] | None = None
    begun: OperationStep | None = None
    expected: Expected | None = None
    _units: list[Callable[[], object]] = field(default_factory=list)
    _lines: list[Line] = field(default_factory=list)
    _server_lines: int = 0
    _progress: dict[str, Any] = field(default_factory=dict)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that the operation is about."""
        return self.operation.site

    @property
    def seconds(self) -> float:
        """Seconds since the first runner took the operation."""
        started_at = self.operation.started_at or timezone.now()
        return round((timezone.now() - started_at).total_seconds(), 3)

    def say(self, line: str) -> None:
        """Add a line to the operation's log; it is written with the next unit."""
        self._lines.append(Line(line))

    def say_for_server(self, lines: Sequence[str]) -> None:
        """Add what the server has logged, as far as an operation keeps it."""
        kept = lines[: max(0, MOST_SERVER_LINES - self._server_lines)]
        self._lines += [Line(line, OperationLog.SERVER) for line in kept]
        if self._server_lines < MOST_SERVER_LINES <= self._server_lines + len(lines):
            self.say("The server logs more than an operation keeps; its own log has the rest.")
        self._server_lines += len(lines)

    def settle(self, step: OperationStep, outcome: Outcome) -> None:
        """The step is done. It is written with the next unit, so that a step that follows costs no further transaction.

        A crash before that finds the step begun, as one before its measurement would.
        """
        records.end_step(step, outcome)
        self.later(records.settle_step, self.operation, step, outcome)

    def later(self, unit: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a unit of database work with the next one, in its transaction."""
        self._units.append(partial(unit, *args, **kwargs))

    def taken_news(self) -> News:
        """What is not written yet; the caller writes it."""
        news, self._units, self._lines = News(self._units, self._lines), [], []
        return news

    async def write(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of database work as the owner of the operation. Raises ``LeaseLost``."""
        return await self.write_with({}, partial(unit, *args, **kwargs))

    async def write_with(self, columns: Mapping[str, Any], unit: Callable[[], T]) -> T:
        """The same, with columns of the operation. Raises ``LeaseLost``."""
        return await self.database(records.as_owner, self.lease, self.taken_news(), unit, columns)

    async def update(self, **columns: Any) -> None:
        """Write columns of the operation. Raises ``LeaseLost``."""
        await self.write_with(columns, _nothing)

    async def sample(self) -> HostSample | None:
        """A fresh sweep of the host's GPUs; ``None`` where the host has no telemetry."""
        return await sample_now_async(self.endpoint.host)

    async def read(self, model: str, sample: HostSample | None = None) -> Reading:
        """The endpoint, the GPUs and the model's processes now, unless there is a ``sample``. Raises ``BackendError``."""
        observed_at = timezone.now()
        if sample is None:
            sample, observation = await asyncio.gather(self.sample(), self.backend.observe())  # the thread's first
        else:
            observation = await self.backend.observe()
        if sample is None or not sample.gpus:
            ram_bytes = await self.database(model_ram_bytes, self.endpoint, model, observation, sample)
            return Reading(observation, observed_at, sample, ram_bytes=ram_bytes)
        pids = await self.database(model_pids, self.endpoint, model, sample, observation)
        resident = observation.find(model)
        return Reading(
            observation,
            observed_at,
            sample,
            process_bytes=None if pids is None else held_by(pids, sample),
            ram_bytes=resident.host_ram_bytes if resident else None,
            pids=pids if pids and self.endpoint.host.is_local else frozenset(),
        )

    async def look(self, model: str) -> tuple[Reading, Expected | None]:
        """What there is now, and what is known of the load; at first as the request has just read it."""
        handed, self.handed = self.handed, None
        if handed is None:
            return await asyncio.gather(self.read(model), self.database(read_expected, self.operation))
        return await self.read(model, handed.sample), handed.expected

    async def read_before(self, model: str) -> Reading:
        """A reading from before an effect: the fresh one if there is one of this model. Raises ``BackendError``."""
        fresh, self.fresh = self.fresh, None
        return fresh[1] if fresh and fresh[0] == model else await self.read(model)

    async def follow_rise(self, baseline: Mapping[str, int]) -> None:
        """Report the bytes risen since ``baseline`` until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY_SECONDS)
            rises = risen(baseline, used_by_gpu(await self.sample()))
            self.progress(progress_bytes=sum(rises.values()))

    def progress(self, **columns: Any) -> None:
        """Columns that tell how far it is; the watcher writes the latest a few times a second."""
        self._progress |= columns

    async def flush(self) -> None:
        """Write the latest progress and what else is not written yet, if anything. Raises ``LeaseLost``."""
        columns, self._progress = self._progress, {}
        if columns or self._units or self._lines:
            await self.update(**columns)


def _nothing() -> None:
    """A unit that writes only columns and log lines."""
