"""From demands and a fleet to the solver's problem, and from its answer back to what endpoints are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from models_app.backends.protocol import LoadOptions
from models_app.operations.fleet_models import hue
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet, Server
from models_app.plans.naming import label
from models_app.plans.options import Enumerated, Way
from models_app.plans.records import RAM, Instance
from models_app.solver.types import (
    Assignment,
    Demand,
    Device,
    DeviceKind,
    DeviceSets,
    Endpoint,
    Option,
    Problem,
    Rule,
    Scope,
)

FOREVER_SECONDS = -1
NOBODY = "loaded:"
"""How the demand of what nobody demands begins, before the endpoint's id and the model's name."""
_SCOPES = {"host": Scope.HOST, "gpu": Scope.DEVICE}


@dataclass(frozen=True, slots=True)
class Unplaceable:
    """A demand that the solver is not asked about. ``code`` is ``names_nothing`` or ``unknown_place``."""

    spec: DemandSpec
    code: str
    reason: str


@dataclass
class Posed:
    """A problem and what its options mean. ``unplaceable`` are the demands that are not in it."""

    fleet: Fleet
    problem: Problem
    specs: dict[str, DemandSpec]
    ways: dict[tuple[str, Option, int], Way]
    loaded: dict[tuple[str, str], Instance]
    unplaceable: tuple[Unplaceable, ...]
    left_out: tuple[str, ...]

    def instance(self, placed: Assignment) -> Instance:
        """An assignment as endpoints understand it."""
        server = self.fleet.server[endpoint_id(placed.endpoint)]
        way = self.ways.get((placed.demand, placed.option, server.id))
        if way is None or (way.loaded is not None and way.loaded.fixed):
            known = self.loaded[placed.endpoint, placed.demand]
            return known if is_unclaimed(placed) else replace(known, demand=placed.demand)
        option = placed.option
        variant = way.candidate.facts.variant
        return Instance(
            demand=placed.demand,
            endpoint_id=server.id,
            endpoint=server.name,
            host=server.host,
            model=way.candidate.model,
            gpus=placed.devices,
            bytes={pool: size for pool, size in self.problem.taken(placed).items() if size},
            peak_bytes=dict(zip(placed.devices, option.loading_bytes, strict=True)),
            options=_load_options(self.specs[placed.demand], server, placed, way).given(),
            quantization=variant.quantization if variant else "",
            hue=hue(variant, way.candidate.model),
            context_length=option.context_length,
            slots=option.slots,
            layers=option.gpu_layers,
            quality=option.quality,
            latency_ms=option.latency_ms,
            load_seconds=option.load_seconds,
            grade=way.grade or "measured",
            swapped=placed.swapped,
            foreign=way.loaded is not None and way.loaded.foreign,
        )


def pose(fleet: Fleet, specs: Sequence[DemandSpec], found: dict[str, Enumerated]) -> Posed:
    """The problem of these demands, whose options are ``found`` by name."""
    unplaceable = tuple(_unplaceable(fleet, specs, found))
    missing = {each.spec.name for each in unplaceable}
    placeable = [spec for spec in specs if spec.name not in missing]
    names = {spec.name for spec in placeable}
    demands = tuple(_demand(spec, fleet, found[spec.name]) for spec in placeable)
    views = {name for demand in demands for option in demand.options for name in option.endpoints or ()}
    current = tuple(_current(fleet, placeable, found))
    problem = Problem(
        devices=tuple(_devices(fleet)),
        endpoints=tuple(_endpoints(fleet, views)),
        demands=demands,
        rules=tuple(rule for spec in placeable for rule in _rules(spec, names)),
        current=tuple(assignment for assignment, _ in current),
    )
    return Posed(
        fleet=fleet,
        problem=problem,
        specs={spec.name: spec for spec in placeable},
        ways={(name, *key): way for name in names for key, way in found[name].ways.items()},
        loaded={(assignment.endpoint, assignment.demand): instance for assignment, instance in current},
        unplaceable=unplaceable,
        left_out=tuple(f"{spec.name}: {why}" for spec in specs for why in found[spec.name].left_out),
    )


def is_unclaimed(placed: Assignment) -> bool:
    """Whether it is loaded and nobody demands it so."""
    return placed.demand.startswith(NOBODY)


def endpoint_id(name: str) -> int:
    """The id of the endpoint behind the solver's name for it or for one of its GPUs."""
    return int(name.partition("@")[0])


def _load_options(spec: DemandSpec, server: Server, placed: Assignment, way: Way) -> LoadOptions:
    """What the endpoint is asked for: all that it honours of what was decided, kept until somebody says otherwise."""
    option = placed.option
    chooses_gpu = "gpu" in server.options and len(placed.devices) == 1 and len(server.gpus) > 1
    wanted = LoadOptions(
        context_length=option.context_length,
        parallel=option.slots,
        gpu_layers=option.gpu_layers,
        gpu=placed.devices[0] if chooses_gpu else None,
        keep_alive_seconds=None if placed.swapped else FOREVER_SECONDS,
        pinned=not spec.on_demand,
    )
    if way.loaded is not None and way.loaded.options:
        wanted = replace(
            LoadOptions(**way.loaded.options), keep_alive_seconds=wanted.keep_alive_seconds, pinned=wanted.pinned
        )
    honoured = {name: value for name, value in wanted.given().items() if name in server.options or name == "pinned"}
    return LoadOptions(**honoured)


def _unplaceable(fleet: Fleet, specs: Sequence[DemandSpec], found: dict[str, Enumerated]) -> Iterator[Unplaceable]:
    for spec in specs:
        hosts, gpus = set(fleet.hosts), set(fleet.pool)
        gone = [name for name in spec.hosts if name not in hosts]
        gone += [name for name in (*spec.gpus, *spec.pinned_gpus) if name not in gpus]
        if not found[spec.name].options:
            why = " ".join(found[spec.name].left_out) or f"{spec.model} is installed nowhere."
            yield Unplaceable(spec, "names_nothing", why)
        elif gone and (set(gone) & set(spec.pinned_gpus) or _nowhere(spec, hosts, gpus)):
            yield Unplaceable(spec, "unknown_place", f"It may only run on {', '.join(gone)}, which is not there now.")


def _nowhere(spec: DemandSpec, hosts: set[str], gpus: set[str]) -> bool:
    """Whether nothing is left of the hosts or of the GPUs that it allows."""
    return bool((spec.hosts and not hosts & set(spec.hosts)) or (spec.gpus and not gpus & set(spec.gpus)))


def _demand(spec: DemandSpec, fleet: Fleet, found: Enumerated) -> Demand:
    return Demand(
        name=spec.name,
        options=tuple(found.options),
        priority=spec.priority,
        replicas=spec.replicas,
        always_on=not spec.on_demand,
        tolerated_wait_seconds=spec.tolerated_wait_seconds,
        allowed_hosts=frozenset(spec.hosts) & frozenset(fleet.hosts) if spec.hosts else None,
        allowed_devices=frozenset(spec.gpus) & frozenset(fleet.pool) if spec.gpus else None,
        pinned_devices=frozenset(spec.pinned_gpus) if spec.pinned_gpus else None,
        tags=frozenset(spec.tags),
    )


def _rules(spec: DemandSpec, names: set[str]) -> Iterator[Rule]:
    """Rules with demands that are not placed do not count."""
    for others, scope, apart in (
        (spec.together_with, spec.together_on, False),
        (spec.apart_from, spec.apart_on, True),
    ):
        present = [name for name in others if name in names]
        if apart:
            yield from (Rule(frozenset({spec.name, name}), _SCOPES[scope]) for name in present)
        elif present:
            yield Rule(frozenset({spec.name, *present}), _SCOPES[scope], apart=False)


def _devices(fleet: Fleet) -> Iterator[Device]:
    for pool in fleet.pools:
        yield Device(
            id=pool.id,
            host=pool.host,
            kind=DeviceKind(pool.kind),
            capacity_bytes=pool.total_bytes - pool.reserved_bytes,
            headroom_bytes=pool.headroom_bytes,
            used_by_others_bytes=pool.others_bytes,
        )


def _endpoints(fleet: Fleet, views: Iterable[str]) -> Iterator[Endpoint]:
    for server in fleet.servers:
        yield Endpoint(str(server.id), server.host, server.gpus, DeviceSets(server.sets), server.copies, server.max_models)
    for view in sorted(view for view in views if "@" in view):
        server = fleet.server[endpoint_id(view)]
        yield Endpoint(view, server.host, (view.partition("@")[2],), DeviceSets.WHOLE, server.copies)


def _current(
    fleet: Fleet, specs: Sequence[DemandSpec], found: dict[str, Enumerated]
) -> Iterator[tuple[Assignment, Instance]]:
    """What is loaded, each for the first demand by priority that still lacks an instance and takes it as it is."""
    lacking = {spec.name: spec.replicas for spec in specs}
    by_priority = sorted(specs, key=lambda spec: spec.priority)
    for instance in fleet.loaded:
        key = (instance.endpoint_id, instance.model)
        taker = next((each.name for each in by_priority if lacking[each.name] and key in found[each.name].as_loaded), None)
        if taker is not None:
            lacking[taker] -= 1
            devices = fleet.server[instance.endpoint_id].gpus if instance.fixed else instance.gpus
            yield Assignment(taker, found[taker].as_loaded[key], str(instance.endpoint_id), devices), instance
        elif not instance.fixed:
            yield _unclaimed(fleet, instance), instance


def _unclaimed(fleet: Fleet, instance: Instance) -> Assignment:
    """What is loaded and nobody demands so: it may go. Where it lies is known, or it takes no room in the reckoning."""
    sizes = tuple(instance.bytes[uuid] for uuid in instance.gpus)
    ram = RAM + instance.host
    option = Option(
        variant=label(instance.model, instance.quantization),
        device_bytes=sizes,
        host_ram_bytes=instance.bytes.get(ram, 0) if ram in fleet.pool else 0,
        gpu_layers=instance.layers if sizes else 0,
    )
    name = f"{NOBODY}{instance.endpoint_id}:{instance.model}"
    return Assignment(name, option, str(instance.endpoint_id), instance.gpus)
