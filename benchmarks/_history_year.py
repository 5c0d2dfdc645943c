"""A made-up year of one GPU, written as the panel would have kept it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from models_app.accounts.roles import Role, set_role
from models_app.inventory.models import Endpoint, Gpu, Host
from models_app.telemetry.history.rollup import merge, summarize
from models_app.telemetry.history.store import SPANS, floor, moment
from models_app.telemetry.history.tables import Table, pack
from models_app.telemetry.models import SecondsChunk, StepsChunk

GIB, MIB = 1024**3, 1024**2
DAY = 86_400
KEPT = {10: 2 * DAY, 60: 30 * DAY, 3600: 365 * DAY}


def make_year(models: Sequence[str], dice: random.Random) -> tuple[Client, str, int, int]:
    """A signed-in browser, the GPU's UUID, and how many rows of how many bytes there are."""
    call_command("migrate", verbosity=0)
    host = Host.objects.create(name="gpu-1")
    endpoint = Endpoint.objects.create(host=host, name="ollama", kind="ollama", url="http://127.0.0.1:11434")
    gpu = Gpu.objects.create(host=host, uuid="GPU-1", index=0, name="RTX", total_bytes=48 * GIB)
    now = time.time()
    made = _Day(endpoint.pk, models, dice)
    for resolution, kept in KEPT.items():
        _steps(gpu, resolution, now, kept, made)
    _seconds(gpu, now, made)
    user = User.objects.create_user("ada", password="a long pass phrase")
    set_role(user, Role.MEMBER)
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    rows = [len(row.payload) for kind in (SecondsChunk, StepsChunk) for row in kind.objects.all()]
    return client, gpu.uuid, len(rows), sum(rows)


class _Day:
    """Samples in which one model at a time joins or leaves, with noise in every figure."""

    def __init__(self, endpoint_id: int, models: Sequence[str], dice: random.Random) -> None:
        self.endpoint_id, self.models, self.dice = endpoint_id, models, dice

    def samples(self, since: int, until: int, every: int) -> Table:
        table = Table()
        for second in range(since, until, every):
            table.append(second, self._row(second))
        return table

    def _row(self, second: int) -> dict[str, float]:
        dice, quarter = self.dice, second // 900
        shares = {
            f"model:{self.endpoint_id}:{name}": (4 + place) * GIB + dice.randrange(64) * 2 * MIB
            for place, name in enumerate(self.models)
            if (quarter + place) % 3 == 0
        }
        shares |= {"other:python3": 600 * MIB, "unexplained:": dice.randrange(200) * MIB}
        busy = 100 if dice.random() < 0.4 else 0
        own = {"used": sum(shares.values()), "utilization": busy, "temperature": 40 + busy // 4 + dice.randrange(5)}
        own |= {"power": 60_000 + busy * 3000 + dice.randrange(9000), "boot": 1, "sequence": second}
        return {name: float(value) for name, value in (own | shares).items()}


def _steps(gpu: Gpu, resolution: int, now: float, kept: int, made: _Day) -> None:
    """Of every step six samples, which is enough for their statistics to differ."""
    span, ended = SPANS[resolution], floor(now, 3600)
    for start in range(floor(now - kept, span), ended, span):
        end = min(start + span, ended)
        steps = summarize(made.samples(start, end, max(1, resolution // 6)), min(resolution, 600))
        payload = pack(steps if resolution <= 600 else merge(steps, resolution), start)
        StepsChunk.objects.create(gpu=gpu, resolution_seconds=resolution, starts_at=moment(start), payload=payload)


def _seconds(gpu: Gpu, now: float, made: _Day) -> None:
    for start in range(floor(now - 2 * 3600, 3600), int(now), 60):
        payload = pack(made.samples(start, min(start + 60, int(now)), 1), start)
        pending = start >= floor(now, 3600)
        SecondsChunk.objects.create(gpu=gpu, starts_at=moment(start), payload=payload, pending=pending)
