"""The values that rules speak in: what they look at, what they find there, and what could be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.past import Past


class Severity(StrEnum):
    """How soon somebody should look: now, today, or some time."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTICE = "notice"


class Unit(StrEnum):
    """What a number counts."""

    BYTES = "bytes"
    MEBIBYTES = "MiB"
    PERCENT = "%"
    CELSIUS = "°C"
    SECONDS = "s"
    TIMES = "times"
    TOKENS = "tokens"
    LAYERS = "layers"
    TOKENS_PER_SECOND = "tokens/s"
    NONE = ""


class Page(StrEnum):
    """Where an action leads, by the name of the page's address."""

    OPERATIONS = "operations"
    """The action is an operation: its fields are posted, and confirmed where operations ask for that."""
    LOAD = "load"
    """The form of a load, filled in; nothing happens before it is sent."""
    CANCEL = "operation_cancel"
    """The operation ``operation_id`` is cancelled."""
    ENFORCE = "plan_enforcement"
    """The plan ``plan_id`` is enforced again."""
    REMOVE_ENDPOINT = "host_endpoint_remove"
    """The question whether the endpoint ``endpoint_id`` is removed from the list; nothing happens before it is answered."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the evidence. Bytes and counts are whole."""

    label: str
    value: float
    unit: Unit = Unit.NONE


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about. ``key`` is the same for as long as it is the same thing; ``name`` is for people."""

    key: str
    name: str
    host_id: int


@dataclass(frozen=True, slots=True)
class Action:
    """A proposed operation: the words on its button, and the fields of the form that asks for it."""

    words: str
    page: Page
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule sees of one subject. ``value`` is compared with the rule's limits, in the rule's unit.

    ``None`` says that the value is not known now: an alert stays as it is. ``advice`` is what to do, in a sentence.
    ``severity`` is given where this subject is less urgent than the rule otherwise is.
    """

    subject: Subject
    value: float | None
    sentence: str = ""
    figures: tuple[Figure, ...] = ()
    advice: str = ""
    action: Action | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """An alert is raised at ``raise_at`` or above and cleared at ``clear_at`` or below, each after ``for_seconds``."""

    raise_at: float
    clear_at: float
    for_seconds: float
    is_on: bool = True


Look = Callable[[Facts, Past, Limits], Iterator[Reading]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``meaning`` says in a sentence or two what it watches and why that matters.

    ``limits`` are the defaults; admins may change them.
    """

    name: str
    title: str
    meaning: str
    severity: Severity
    unit: Unit
    limits: Limits
    look: Look = field(compare=False)


def lasting(seconds: float) -> str:
    """A duration in its one largest unit: 40 s, 12 min, 3 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} h"
