"""What pulling a model would do for a demand that is not met: a server with room for a variant that it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django.db.models import Q

from models_app.backends.protocol import BackendKind, Capability, LoadOptions
from models_app.catalog.models import Installation, Variant
from models_app.inventory.models import Endpoint
from models_app.operations.facts import foreign_subject
from models_app.operations.reckoning import reckon
from models_app.operations.refusals import RequestRefused
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet
from models_app.plans.posed import Posed
from models_app.plans.problem import demand_of
from models_app.plans.records import RemedyRow
from models_app.plans.sizes import room_of
from models_app.plans.ways import upper_shares
from models_app.solver.advice import gib
from models_app.solver.choices import choices_of
from models_app.solver.ledger import Ledger
from models_app.solver.result import Change
from models_app.solver.types import Assignment, Option

MOST_TRIED = 24
"""Pairs of a variant and a server that are reckoned for one demand."""


def pulls(posed: Posed, placed: Sequence[Assignment], endpoints: Iterable[Endpoint]) -> dict[str, RemedyRow]:
    """By the names of demands that lack an instance: the first variant and server that would serve one after a pull.

    Only what some Ollama has under this name is offered: then any Ollama can pull the name, and the size is known.
    """
    able = [endpoint for endpoint in endpoints if _pulls(endpoint)]
    lacking = [spec for spec in posed.specs.values() if sum(it.demand == spec.name for it in placed) < spec.replicas]
    lacking += [each.spec for each in posed.unplaceable if each.code == "names_nothing"]
    ledger = Ledger.of(posed.problem, placed)
    found = {spec.name: _first(posed.fleet, ledger, spec, able) for spec in lacking}
    return {name: remedy for name, remedy in found.items() if remedy is not None}


def _first(fleet: Fleet, ledger: Ledger, spec: DemandSpec, able: list[Endpoint]) -> RemedyRow | None:
    for _, (endpoint, name, option) in zip(range(MOST_TRIED), _ways(fleet, spec, able), strict=False):
        choices = choices_of(ledger.problem, demand_of(spec, fleet, [option]))
        seat = next((seat for choice in choices if (seat := ledger.seat(choice)) is not None), None)
        if seat is not None:
            gpu, size = fleet.pool[seat.devices[0]], option.device_bytes[0]
            room = f"it needs {gib(size)}, and {gib(ledger.free(gpu.id))} are left on {gpu.label} of {gpu.host}"
            sentence = f"Pull {name} to {endpoint.name}: {room}."
            return RemedyRow(Change.PULL.value, sentence, size, endpoint_id=endpoint.pk, model=name)
    return None


def _ways(fleet: Fleet, spec: DemandSpec, able: list[Endpoint]) -> Iterator[tuple[Endpoint, str, Option]]:
    """Variants in the demand's order on servers that lack them, whole on one GPU at the least context."""
    for variant, name, holders in _pullable(spec):
        for endpoint in able:
            server = fleet.server.get(endpoint.pk)
            if server is None or not server.can_load or not server.gpus or endpoint.pk in holders:
                continue
            option = _option(fleet, endpoint, variant, spec)
            if option is not None:
                yield endpoint, name, option


def _option(fleet: Fleet, endpoint: Endpoint, variant: Variant, spec: DemandSpec) -> Option | None:
    try:
        subject = foreign_subject(endpoint, variant, LoadOptions(context_length=spec.least_context))
    except RequestRefused:
        return None
    roomiest = max((fleet.pool[uuid] for uuid in fleet.server[endpoint.pk].gpus), key=lambda pool: pool.usable_bytes)
    reckoning = reckon(subject, [room_of(roomiest)])
    if not reckoning.devices or subject.settings.parallel < spec.slots:
        return None
    shares = tuple(upper_shares(reckoning))
    return Option(variant.name, shares, context_length=spec.least_context, endpoints=frozenset({str(endpoint.pk)}))


def _pullable(spec: DemandSpec) -> Iterator[tuple[Variant, str, set[int]]]:
    """The variants that a demand names, the names under which Ollamas have them, and the ids of who has them."""
    for wanted in spec.variants or (spec.model,):
        named = Q(name__in=[wanted, f"{wanted}:latest"])
        family = named if spec.variants else Q(variant__model__name__iexact=wanted)
        rows = Installation.objects.select_related("endpoint", "variant__header").filter(named | family)
        by_name: dict[str, list[Installation]] = {}
        for row in rows.order_by("-size_bytes", "name"):
            by_name.setdefault(row.name, []).append(row)
        for name, held in by_name.items():
            if any(_pulls(row.endpoint) for row in held):
                yield held[0].variant, name, {row.endpoint_id for row in held}


def _pulls(endpoint: Endpoint) -> bool:
    return endpoint.kind == BackendKind.OLLAMA and Capability.PULL in endpoint.capabilities
