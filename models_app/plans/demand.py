"""A demand as a value, and the one door by which documents from pages, the API and YAML become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models_app.plans.models import Demand

MOST_REPLICAS, MOST_SLOTS = 64, 1024
MOST_CONTEXT = 100_000_000
MOST_WAIT_SECONDS = 24 * 3600
MOST_LISTED, MOST_CHARACTERS = 64, 255
_NAME = re.compile(r"[\w][\w .:/+@-]{0,79}")


class InvalidDemand(ValueError):
    """A document that is no demand. ``code`` is stable; ``errors`` has a sentence for each field at fault."""

    code = "invalid_demand"

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))


@dataclass(frozen=True, slots=True)
class DemandSpec:
    """What should be served.

    ``model`` is a family or a variant's name; ``variants`` are those that will do, in order of preference, empty for the
    variant itself or every variant of the family, the best first. A context of ``context_length`` tokens a slot is wanted,
    one of ``least_context_length`` will do. ``priority`` is 1 (first) to 5. An ``on_demand`` demand may be loaded when it
    is asked for, if that takes no longer than ``tolerated_wait_seconds``. A ``gpu_only`` one never leaves layers to the
    CPU, which makes it 3 to 10 times slower. ``hosts`` and ``gpus`` (UUIDs) are those allowed, empty for all; the exact set
    ``pinned_gpus`` comes before every priority. ``together_with`` and ``apart_from`` name other demands; ``together_on``
    and ``apart_on`` are ``host`` or ``gpu``.
    """

    name: str
    model: str
    variants: tuple[str, ...] = ()
    context_length: int = 8192
    least_context_length: int | None = None
    slots: int = 1
    tags: tuple[str, ...] = ()
    priority: int = 3
    replicas: int = 1
    on_demand: bool = False
    tolerated_wait_seconds: int | None = None
    gpu_only: bool = False
    hosts: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    pinned_gpus: tuple[str, ...] = ()
    together_with: tuple[str, ...] = ()
    together_on: str = "host"
    apart_from: tuple[str, ...] = ()
    apart_on: str = "host"

    @property
    def least_context(self) -> int:
        """The shortest context that will do, in tokens."""
        return self.least_context_length or self.context_length

    def document(self) -> dict[str, Any]:
        """The demand as plain JSON, without what is the default."""
        given = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if name in ("name", "model") or value != _DEFAULTS[name]
        }

    def columns(self) -> dict[str, Any]:
        """The values of the row's columns."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def spec_of(row: Demand) -> DemandSpec:
    """The row as a value."""
    return DemandSpec(**{name: _frozen(getattr(row, name)) for name in FIELDS})


def read_demand(document: object) -> DemandSpec:
    """A demand from a mapping of plain values; an absent value or ``None`` is the default. Raises ``InvalidDemand``."""
    if not isinstance(document, Mapping):
        raise InvalidDemand({"": "A demand is a mapping of fields, such as name and model."})
    unknown = sorted(str(name) for name in document if name not in _READERS)
    if unknown:
        raise InvalidDemand({unknown[0]: f"There is no field “{unknown[0]}”. Fields: {', '.join(_READERS)}."})
    given: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, read in _READERS.items():
        value = document.get(name)
        if value is None and name not in ("name", "model"):
            continue
        try:
            given[name] = read(value)
        except ValueError as error:
            errors[name] = str(error)
    if not errors:
        errors = contradictions(DemandSpec(**given))
    if errors:
        raise InvalidDemand(errors)
    return DemandSpec(**given)


def contradictions(spec: DemandSpec) -> dict[str, str]:
    """What a demand says against itself, a sentence by field."""
    errors: dict[str, str] = {}
    if spec.least_context > spec.context_length:
        errors["least_context_length"] = (
            f"The least context ({spec.least_context:,} tokens) is more than the one wanted ({spec.context_length:,})."
        )
    if spec.tolerated_wait_seconds is not None and not spec.on_demand:
        errors["tolerated_wait_seconds"] = "Only what is loaded on demand can wait; an always-on demand never does."
    if spec.pinned_gpus and spec.replicas > 1:
        errors["replicas"] = "A demand pinned to one set of GPUs has one replica: replicas never share a GPU."
    if spec.pinned_gpus and spec.gpus and not set(spec.pinned_gpus) <= set(spec.gpus):
        errors["pinned_gpus"] = "It is pinned to a GPU that is not among those allowed."
    if spec.name in (*spec.together_with, *spec.apart_from):
        errors["apart_from" if spec.name in spec.apart_from else "together_with"] = "It names itself."
    both = set(spec.together_with) & set(spec.apart_from)
    if both and not (spec.together_on == "host" and spec.apart_on == "gpu"):
        errors["apart_from"] = f"{', '.join(sorted(both))} cannot be kept together with it and apart from it."
    return errors


def between(specs: Iterable[DemandSpec]) -> dict[str, str]:
    """What demands say against one another, a sentence by the name of the demand at fault."""
    by_name: dict[str, DemandSpec] = {}
    errors: dict[str, str] = {}
    for spec in specs:
        if spec.name in by_name:
            errors[spec.name] = f"Two demands are named {spec.name}."
        by_name[spec.name] = spec
    for spec in by_name.values():
        for other in (*spec.together_with, *spec.apart_from):
            if other not in by_name:
                errors[spec.name] = f"{spec.name} names the demand {other}, which does not exist."
        for other in spec.together_with:
            found = by_name.get(other)
            if found and spec.name in found.apart_from and not (spec.together_on == "host" and found.apart_on == "gpu"):
                errors[spec.name] = f"{spec.name} is to be kept together with {other}, which is to be kept apart from it."
    return errors


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _text(what: str, most: int = MOST_CHARACTERS) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not text:
            raise ValueError(f"Give {what}.")
        if len(text) > most or not text.isprintable():
            raise ValueError(f"At most {most} printable characters.")
        return text

    return read


def _name(value: object) -> str:
    text = _text("the demand a name")(value)
    if not _NAME.fullmatch(text):
        raise ValueError(
            "A name has at most 80 letters, digits, spaces and . : / + @ - _ and begins with a letter or digit."
        )
    return text


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError("Give a list.")
    listed = [_text("a word in every place of the list")(each) for each in value]
    if len(listed) > MOST_LISTED:
        raise ValueError(f"A list has at most {MOST_LISTED} entries.")
    return tuple(dict.fromkeys(listed))


def _whole(what: str, least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        text = str(value).strip()
        if isinstance(value, bool | float) or not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError(f"{what} is a whole number.")
        if not least <= int(text) <= most:
            raise ValueError(f"{what} is from {least:,} to {most:,}, not {int(text):,}.")
        return int(text)

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Say true or false.")
    return value


def _scope(value: object) -> str:
    if value not in ("host", "gpu"):
        raise ValueError("Say host or gpu.")
    return str(value)


_READERS: dict[str, Callable[[object], Any]] = {
    "name": _name,
    "model": _text("a model: a family or a variant's name"),
    "variants": _texts,
    "context_length": _whole("The context", 1, MOST_CONTEXT),
    "least_context_length": _whole("The least context", 1, MOST_CONTEXT),
    "slots": _whole("The number of slots", 1, MOST_SLOTS),
    "tags": _texts,
    "priority": _whole("The priority", 1, 5),
    "replicas": _whole("The number of replicas", 1, MOST_REPLICAS),
    "on_demand": _flag,
    "tolerated_wait_seconds": _whole("The wait", 0, MOST_WAIT_SECONDS),
    "gpu_only": _flag,
    "hosts": _texts,
    "gpus": _texts,
    "pinned_gpus": _texts,
    "together_with": _texts,
    "together_on": _scope,
    "apart_from": _texts,
    "apart_on": _scope,
}
FIELDS = tuple(field.name for field in fields(DemandSpec))
_DEFAULTS = asdict(DemandSpec("", ""))
