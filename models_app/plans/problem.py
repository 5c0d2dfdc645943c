"""From demands and a fleet to the solver's problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet
from models_app.plans.naming import label
from models_app.plans.options import Enumerated
from models_app.plans.posed import NOBODY, Posed, Unplaceable, endpoint_id
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

_SCOPES = {"host": Scope.HOST, "gpu": Scope.DEVICE}


def pose(fleet: Fleet, specs: Sequence[DemandSpec], found: dict[str, Enumerated]) -> Posed:
    """The problem of these demands, whose options are ``found`` by name."""
    unplaceable = tuple(_unplaceable(fleet, specs, found))
    missing = {each.spec.name for each in unplaceable}
    placeable = [spec for spec in specs if spec.name not in missing]
    names = {spec.name for spec in placeable}
    demands = tuple(demand_of(spec, fleet, found[spec.name].options) for spec in placeable)
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
        ways={name: found[name].ways for name in names},
        loaded={(assignment.endpoint, assignment.demand): instance for assignment, instance in current},
        unplaceable=unplaceable,
        left_out=tuple(f"{spec.name}: {why}" for spec in specs for why in found[spec.name].left_out),
    )


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


def demand_of(spec: DemandSpec, fleet: Fleet, options: Sequence[Option]) -> Demand:
    """The solver's demand with these options."""
    return Demand(
        name=spec.name,
        options=tuple(options),
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
