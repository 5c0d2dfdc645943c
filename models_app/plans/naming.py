"""Which installed models a demand speaks of, in its order of preference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.estimator.quick import bytes_per_weight
from models_app.estimator.types import EstimateError
from models_app.inventory.models import Gpu, Host
from models_app.operations.facts import Facts
from models_app.plans.demand import DemandSpec

MOST_VARIANTS = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant that will do, installed on an endpoint as ``model``; ``rank`` 0 is the one preferred."""

    rank: int
    endpoint_id: int
    model: str
    label: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Named:
    """What a demand's names came to: the candidates, how many ranks there are, and what was left out, in sentences."""

    candidates: tuple[Candidate, ...]
    ranks: int
    left_out: tuple[str, ...] = ()


class Library:
    """Everything that is installed on the endpoints of a plan, by every name that people use for it."""

    def __init__(self, facts: dict[tuple[int, str], Facts]) -> None:
        self._facts = facts
        self._by_name: dict[str, list[tuple[int, str]]] = {}
        self._by_family: dict[str, list[tuple[int, str]]] = {}
        for key, found in facts.items():
            variant = found.variant
            names = {key[1], key[1].removesuffix(":latest")}
            if variant is not None:
                names |= {variant.name, variant.name.removesuffix(":latest")}
                self._by_family.setdefault(variant.model.name.lower(), []).append(key)
            for name in names:
                self._by_name.setdefault(name.lower(), []).append(key)

    def named(self, spec: DemandSpec) -> Named:
        """The candidates of a demand. Names that nothing answers to are left out and said."""
        left_out: list[str] = []
        groups: list[list[tuple[int, str]]] = []
        for name in spec.variants or (spec.model,):
            here = self._by_name.get(name.lower())
            family = [] if spec.variants else self._family(name)
            if here:
                groups.append(here)
            elif family:
                groups += family[:MOST_VARIANTS]
                left_out += [f"{len(family) - MOST_VARIANTS} smaller variants of {name}."] * (len(family) > MOST_VARIANTS)
            else:
                left_out.append(f"{name} is installed on no endpoint that answers.")
        found = [
            Candidate(rank, key[0], key[1], label(key[1], _quantization(self._facts[key].variant)), self._facts[key])
            for rank, keys in enumerate(groups)
            for key in keys
        ]
        return Named(tuple(found), len(groups), tuple(left_out))

    def _family(self, name: str) -> list[list[tuple[int, str]]]:
        """The variants of a family, the best first: more parameters, then more bytes a weight; copies go together."""
        groups: dict[tuple[float, float], list[tuple[int, str]]] = {}
        for key in self._by_family.get(name.lower(), ()):
            groups.setdefault(_worth(self._facts[key].variant, self._facts[key].size_bytes), []).append(key)
        return [groups[worth] for worth in sorted(groups, reverse=True)]


def _worth(variant: Variant | None, size_bytes: int) -> tuple[float, float]:
    parameters = (variant.parameter_count if variant else None) or 0
    try:
        return float(parameters), bytes_per_weight(_quantization(variant))
    except EstimateError:
        return float(parameters), size_bytes / max(1, parameters)


def _quantization(variant: Variant | None) -> str:
    return variant.quantization if variant else ""


def label(name: str, quantization: str) -> str:
    """The name with its quantisation, where the name does not tell."""
    return name if not quantization or quantization.upper() in name.upper() else f"{name} {quantization}"


def unknown_names(spec: DemandSpec) -> dict[str, str]:
    """A sentence for each field of a demand that names what does not exist: a model, a host, a GPU."""
    errors: dict[str, str] = {}
    unknown = [name for name in (spec.variants or (spec.model,)) if not _is_known(name, family=not spec.variants)]
    if unknown:
        field = "variants" if spec.variants else "model"
        errors[field] = f"The catalog knows no model {', '.join(unknown)}; Models lists what there is."
    if missing := _missing(spec.hosts, Host.objects.values_list("name", flat=True)):
        errors["hosts"] = f"There is no host {', '.join(missing)}."
    gpus = set(Gpu.objects.filter(present=True).values_list("uuid", flat=True))
    for field, named in (("gpus", spec.gpus), ("pinned_gpus", spec.pinned_gpus)):
        if missing := _missing(named, gpus):
            errors[field] = f"There is no GPU {', '.join(missing)}."
    pinned_hosts = set(Gpu.objects.filter(uuid__in=spec.pinned_gpus).values_list("host__name", flat=True))
    if len(pinned_hosts) > 1:
        errors["pinned_gpus"] = "One instance cannot be pinned to GPUs of several hosts."
    elif spec.hosts and not pinned_hosts <= set(spec.hosts):
        errors["pinned_gpus"] = "It is pinned to a GPU of a host that it does not allow."
    return errors


def _missing(named: Sequence[str], known: Iterable[str]) -> list[str]:
    return [name for name in named if name not in set(known)]


def _is_known(name: str, *, family: bool) -> bool:
    names = [name, f"{name}:latest"]
    if Variant.objects.filter(name__in=names).exists() or Installation.objects.filter(name__in=names).exists():
        return True
    return family and CatalogModel.objects.filter(name__iexact=name).exists()
