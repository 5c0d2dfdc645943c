"""The load that an operation ends with, as the rows tell it: read beside the look at the endpoint, before admission.

Where a request of this process has read it a moment ago, to see whether the load fits, it is not read again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import NamedTuple

from django.conf import settings

from models_app.operations.facts import Facts, facts_of
from models_app.operations.models import Operation
from models_app.operations.options import stored_options
from models_app.operations.subject import Subject

FRESH_SECONDS = 1.0
MOST_KEPT = 32
_LOADS = (Operation.Kind.LOAD, Operation.Kind.SWAP, Operation.Kind.RESTART)


class Expected(NamedTuple):
    """What is known of the model, and the model with the settings that it will have."""

    facts: Facts
    subject: Subject


_kept: OrderedDict[int, tuple[float, Expected]] = OrderedDict()
"""By the operation's id, since when and what."""


def keep(operation_id: int, expected: Expected) -> None:
    """What a request has just read, for the worker of the same process that carries it out."""
    if settings.REDIS_URL:  # the workers are other processes
        return
    _kept[operation_id] = time.monotonic(), expected
    if len(_kept) > MOST_KEPT:
        _kept.popitem(last=False)


def expected(operation: Operation) -> Expected | None:
    """``None`` for an operation that loads nothing. Raises ``RequestRefused`` (``invalid_option``)."""
    if operation.kind not in _LOADS:
        return None
    read_at, kept = _kept.pop(operation.pk, (0.0, None))
    if kept and time.monotonic() - read_at <= FRESH_SECONDS:
        return kept
    facts = facts_of(operation.site, operation.model_name)
    return Expected(facts, facts.subject(stored_options(operation.options)))
