"""The load that an operation ends with, as the rows tell it: read beside the look at the endpoint, before admission."""

from __future__ import annotations

from typing import NamedTuple

from models_app.operations.facts import Facts, facts_of
from models_app.operations.models import Operation
from models_app.operations.options import stored_options
from models_app.operations.subject import Subject

_LOADS = (Operation.Kind.LOAD, Operation.Kind.SWAP, Operation.Kind.RESTART)


class Expected(NamedTuple):
    """What is known of the model, and the model with the settings that it will have."""

    facts: Facts
    subject: Subject


def expected(operation: Operation) -> Expected | None:
    """``None`` for an operation that loads nothing. Raises ``RequestRefused`` (``invalid_option``)."""
    if operation.kind not in _LOADS:
        return None
    facts = facts_of(operation.site, operation.model_name)
    return Expected(facts, facts.subject(stored_options(operation.options)))
