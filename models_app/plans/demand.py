"""A demand as a value, and the one door by which documents from pages, the API and YAML become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from models_app.plans.demand_fields import READERS
from models_app.plans.models import Demand


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
    unknown = sorted(str(name) for name in document if name not in READERS)
    if unknown:
        raise InvalidDemand({unknown[0]: f"There is no field “{unknown[0]}”. Fields: {', '.join(READERS)}."})
    given: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, read in READERS.items():
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


FIELDS = tuple(field.name for field in fields(DemandSpec))
_DEFAULTS = asdict(DemandSpec("", ""))
