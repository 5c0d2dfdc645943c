"""What a request to load hands over to the worker of this process that carries it out, so that it need not read it.

The rows stay the truth: a worker that is another process, or that comes later, reads them, and one that takes an operation
over takes it by a guarded UPDATE all the same.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from copy import copy
from typing import NamedTuple

from django.conf import settings

from models_app.inventory.routes import is_direct
from models_app.operations.expected import Expected
from models_app.operations.models import Operation
from models_app.operations.urgency import Urgency
from models_app.probes.types import HostSample

FRESH_SECONDS = 1.0
FRESH_SAMPLE_SECONDS = 0.25
MOST_KEPT = 32


class Handover(NamedTuple):
    """An operation as it was queued, with its endpoint and host, and what it was judged by."""

    operation: Operation
    urgency: Urgency
    expected: Expected
    sample: HostSample | None


_kept: OrderedDict[int, tuple[float, Handover]] = OrderedDict()
"""By the operation's id, since when and what."""


def hand_over(operation: Operation, expected: Expected, sample: HostSample | None) -> None:
    """For the worker, who is about to be told of the operation: urgent until its order."""
    if settings.REDIS_URL or not is_direct(operation.site.url):  # another process carries it out, or has more to read
        return
    urgency = Urgency()
    urgency.begin(operation.site)
    _kept[operation.pk] = time.monotonic(), Handover(copy(operation), urgency, expected, sample)
    if len(_kept) > MOST_KEPT:
        _, (_, forgotten) = _kept.popitem(last=False)
        forgotten.urgency.end()


def take_over(operation_id: int) -> Handover | None:
    """Once, and as far as it is fresh."""
    since, handed = _kept.pop(operation_id, (0.0, None))
    age_seconds = time.monotonic() - since
    if handed is None:
        return None
    if age_seconds > FRESH_SECONDS:
        handed.urgency.end()
        return None
    return handed if age_seconds <= FRESH_SAMPLE_SECONDS else handed._replace(sample=None)
