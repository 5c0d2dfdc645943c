"""Making an on-demand model available: what has to leave its swap space leaves, then it is loaded.

Least recently used within the space that the active plan has reserved, by priority, never a pinned model, one that an
operation is at work on, or, unless confirmed, one that has only just come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone

from models_app.accounts.roles import Actor
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.apply import StepRequest, request_apply
from models_app.operations.models import Operation, OperationTarget
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import Request, submit
from models_app.operations.wording import gib
from models_app.plans.applying import active_plan, settle
from models_app.plans.demand import read_demand
from models_app.plans.models import Demand, Plan
from models_app.plans.records import Instance, instances
from models_app.plans.wakes import Wake
from models_app.solver.hot_swap import Resident, SwapModel, make_room

Key = tuple[int, str]
MINIMUM_RESIDENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Woken:
    """Where the demand is served, or will be once ``operation`` has succeeded; ``evicted`` make way for it."""

    instance: Instance
    operation: Operation | None = None
    evicted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Room:
    """What has to leave for an instance. ``young`` are among those that leave and have only just come."""

    instance: Instance
    evict: tuple[Instance, ...] = ()
    young: tuple[str, ...] = ()
    why_not: str = ""


class JustLoaded(RequestRefused):
    """``just_loaded``: models would have to make way that have only just come. ``reason`` says so without any advice."""

    def __init__(self, young: Sequence[str]) -> None:
        came = f"came less than {MINIMUM_RESIDENCE_SECONDS:g} s ago"
        self.reason = f"{', '.join(young)} would have to make way and {came}"
        advice = "Swapping back and forth serves nobody; confirm to do it all the same."
        super().__init__("just_loaded", f"{self.reason}. {advice}", status=409)


def wake(
    actor: Actor,
    demand: Demand,
    *,
    confirmed: bool = False,
    may_evict: bool = True,
    is_request: bool = True,
    idempotency_key: str = "",
) -> Woken:
    """Make a demand available by the active plan. What nobody has asked for (``is_request``) is not remembered as asked.

    Raises ``RequestRefused``: ``no_active_plan``, ``not_planned`` where that plan has no place for it, ``no_room`` in
    numbers, ``just_loaded`` until ``confirmed``, or what a load, a swap or an apply is refused for.
    """
    settle()  # an apply may have succeeded since the last look
    plan = active_plan()
    if plan is None:
        raise RequestRefused("no_active_plan", "No plan is applied: apply one that has a place for it first.", status=409)
    places = [each for each in instances(plan.instances) if each.demand == demand.name]
    there = Endpoint.objects.in_bulk({each.endpoint_id for each in places})
    places = [each for each in places if each.endpoint_id in there]
    if not places:
        message = f"{plan} has no place for {demand} that is still there: have a plan solved that does, and apply it."
        raise RequestRefused("not_planned", message, status=409)
    loaded = {(row.endpoint_id, row.name): row for row in LoadedModel.objects.filter(name__in=_names(plan))}
    here = next((each for each in places if _key(each) in loaded), None)
    if here is not None:
        _note(actor, demand, None, is_request)
        return Woken(here)
    room = _best(plan, places, loaded)
    _check(room, confirmed=confirmed, may_evict=may_evict)
    operation = _request(actor, demand, room, loaded, idempotency_key)
    _note(actor, demand, operation, is_request)
    return Woken(room.instance, operation, tuple(each.model for each in room.evict))


def _note(actor: Actor, demand: Demand, operation: Operation | None, is_request: bool) -> None:
    if is_request:
        Wake.objects.create(demand=demand, operation=operation, requested_by=actor.name)


def _names(plan: Plan) -> set[str]:
    return {row["model"] for row in plan.instances}


def _key(instance: Instance) -> Key:
    return instance.endpoint_id, instance.model


def _best(plan: Plan, places: Sequence[Instance], loaded: Mapping[Key, LoadedModel]) -> _Room:
    """The place for which the fewest leave, and the fewest that have only just come."""
    residents = _residents(plan, loaded)
    rooms = [_room(plan, place, residents) for place in places]
    return min(rooms, key=lambda room: (bool(room.why_not), len(room.young), len(room.evict)))


def _room(plan: Plan, wanted: Instance, residents: Sequence[tuple[Instance, Resident]]) -> _Room:
    """What leaves, pool by pool, the largest share first: a model that spans GPUs uses the space of each."""
    if not wanted.swapped:
        return _Room(wanted)
    leaving: dict[Key, Instance] = {}
    young: set[str] = set()
    for pool, size in sorted(wanted.bytes.items(), key=lambda item: -item[1]):
        here = [_in_pool(each, resident, pool) for each, resident in residents if each.bytes.get(pool)]
        space = plan.swap_bytes.get(pool, 0)
        model = SwapModel(f"wanted {wanted.model}", size)
        swap = make_room(model, here, space, timezone.now().timestamp(), MINIMUM_RESIDENCE_SECONDS)
        if not swap.possible:
            why = f"{wanted.model} needs {gib(size)} of the {gib(space)} kept for models on demand"
            return _Room(wanted, why_not=f"{why}; {_held(residents, pool)}.")
        young |= set(swap.young)
        leaving |= {_key(each): each for each, _ in residents if _name(each) in swap.evict}
    evicted = tuple(leaving.values())
    return _Room(wanted, evicted, tuple(each.model for each in evicted if _name(each) in young))


def _held(residents: Sequence[tuple[Instance, Resident]], pool: str) -> str:
    """What may not make way there, by name and why."""
    kept = [(each, it) for each, it in residents if each.bytes.get(pool) and (it.model.pinned or it.busy)]
    names = ", ".join(f"{each.model} ({'pinned' if it.model.pinned else 'at work'})" for each, it in kept)
    return f"{gib(sum(each.bytes[pool] for each, _ in kept))} are held by {names or 'nothing that could make way'}"


def _name(instance: Instance) -> str:
    return f"{instance.endpoint_id} {instance.model}"


def _in_pool(instance: Instance, resident: Resident, pool: str) -> Resident:
    model = resident.model
    here = SwapModel(model.name, instance.bytes[pool], model.priority, model.pinned)
    return Resident(here, resident.loaded_at, resident.used_at, resident.busy)


def _residents(plan: Plan, loaded: Mapping[Key, LoadedModel]) -> list[tuple[Instance, Resident]]:
    """The plan's swapped instances that are in memory."""
    priorities = {spec.name: spec.priority for spec in map(read_demand, plan.demands)}
    pinned = set(Residency.objects.filter(pinned=True, lost_at=None).values_list("endpoint_id", "name"))
    busy = set(OperationTarget.objects.filter(active=True).values_list("endpoint_id", "model_name"))
    asked = dict(Wake.objects.order_by().values_list("demand__name").annotate(Max("at")))
    found = [(each, loaded[_key(each)]) for each in instances(plan.instances) if each.swapped and _key(each) in loaded]
    return [
        (
            each,
            Resident(
                SwapModel(_name(each), each.total_bytes, priorities.get(each.demand, 3), _key(each) in pinned),
                loaded_at=row.first_seen_at.timestamp(),
                used_at=_used_at(each, row, asked.get(each.demand)).timestamp(),
                busy=_key(each) in busy,
            ),
        )
        for each, row in found
    ]


def _used_at(instance: Instance, row: LoadedModel, asked_at: datetime | None) -> datetime:
    """When it was last used: an endpoint that keeps a model for a set time after each request tells by its end."""
    kept_seconds = instance.load_options.keep_alive_seconds
    is_timed = row.expires_at is not None and kept_seconds is not None and kept_seconds > 0
    told = row.expires_at - timedelta(seconds=kept_seconds or 0) if row.expires_at and is_timed else None
    return max(filter(None, (row.first_seen_at, asked_at, told)))


def _check(room: _Room, *, confirmed: bool, may_evict: bool) -> None:
    if room.why_not:
        raise RequestRefused("no_room", room.why_not, status=409)
    names = ", ".join(each.model for each in room.evict)
    if room.evict and not may_evict:
        raise RequestRefused("no_room", f"{room.instance.model} fits only once {names} makes way.", status=409)
    if room.young and not confirmed:
        raise JustLoaded(room.young)


def _request(
    actor: Actor, demand: Demand, room: _Room, loaded: Mapping[Key, LoadedModel], idempotency_key: str
) -> Operation:
    """A load, a swap, or where another server's model makes way, an apply of the two."""
    wanted, key = room.instance, idempotency_key
    ids = {wanted.endpoint_id, *(each.endpoint_id for each in room.evict)}
    servers = Endpoint.objects.select_related("host").in_bulk(ids)
    endpoint, options = servers[wanted.endpoint_id], wanted.load_options
    kind = Operation.Kind
    if ids == {wanted.endpoint_id}:
        leaving = tuple(loaded[_key(each)].pk for each in room.evict)
        asked = kind.SWAP if leaving else kind.LOAD
        return submit(Request(asked, actor, endpoint, wanted.model, options, leaving, idempotency_key=key))
    unloads = [StepRequest(kind.UNLOAD, servers[each.endpoint_id], each.model, gpus=each.gpus) for each in room.evict]
    load = StepRequest(kind.LOAD, endpoint, wanted.model, options, tuple(range(len(unloads))), wanted.gpus)
    return request_apply(actor, f"Wake {demand}", [*unloads, load], idempotency_key=key)
