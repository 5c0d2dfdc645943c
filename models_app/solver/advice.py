"""Why a demand is not fully met, in numbers, and the changes that would meet it, each tried against the placement.

Where a placement is proven, no other choice among the options would serve more; so the remedies lie outside of them: a
smaller quantisation or a shorter context than was offered, less of something else, or more memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import islice

from models_app.estimator.advice import LADDER, SMALLEST_CONTEXT
from models_app.estimator.quick import BYTES_PER_WEIGHT
from models_app.solver.choices import Choice, choices_of, waits
from models_app.solver.ledger import Ledger
from models_app.solver.result import Change, Remedy, Unmet
from models_app.solver.types import Assignment, Demand, Option, Problem

GB = 1000**3
GIB = 1024**3
GPU_GB = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 141, 192, 288)
"""Sizes in which GPUs are sold."""
USABLE_SHARE = 0.93
"""Of a GPU's nominal size, after the driver's reserve and 5 % headroom."""
MOST_DROPPED = 4
SPILL_WARNING = "leaves layers to the CPU: expect answers 3 to 10 times slower"


def unmet(problem: Problem, assignments: tuple[Assignment, ...]) -> tuple[Unmet, ...]:
    """Every demand with fewer instances than it asks for, with the reason and the remedies, the mildest first."""
    ledger = Ledger.of(problem, assignments)
    found = []
    for demand in problem.demands:
        served = sum(placed.demand == demand.name for placed in assignments)
        if served < demand.replicas:
            found.append(_explain(problem, ledger, demand, served))
    return tuple(found)


def spill_warnings(assignments: Iterable[Assignment]) -> tuple[str, ...]:
    """A sentence for each instance that leaves layers to the CPU."""
    spilled = (placed for placed in assignments if placed.option.spills)
    return tuple(f"{placed.demand} ({placed.option.variant}) {SPILL_WARNING}." for placed in spilled)


def gib(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / GIB:.1f} GiB"


def _explain(problem: Problem, ledger: Ledger, demand: Demand, served: int) -> Unmet:
    choices = choices_of(problem, demand)
    smallest = min(demand.options, key=_largest_share)
    needed = _largest_share(smallest)
    places = {name for choice in choices for name in choice.devices}
    rooms = {name: ledger.free(name) for name in places or {choice.ram for choice in choices if choice.ram}}
    free = max(rooms.values(), default=0)
    room = max((ledger.free(name) for name in places or _gpus_of(problem, demand)), default=0)
    remedies = tuple(_remedies(problem, ledger, demand, choices, room))
    reason = _limit(ledger, choices) or _reason(problem, demand, smallest, rooms, choices)
    return Unmet(demand.name, served, demand.replicas, reason, needed, free, remedies)


def _limit(ledger: Ledger, choices: tuple[Choice, ...]) -> str:
    """What to say where every endpoint that may serve it has as many models as it keeps, whatever room there is."""
    if not choices or not all(ledger.is_full(choice) for choice in choices):
        return ""
    most = " or ".join(map(str, sorted({choice.endpoint.max_models or 0 for choice in choices})))
    return f"No endpoint that may serve it takes one more: each keeps {most} models at most, and has them."


def _largest_share(option: Option) -> int:
    return max(option.device_bytes, default=option.host_ram_bytes)


def _reason(problem: Problem, demand: Demand, smallest: Option, rooms: dict[str, int], choices: tuple[Choice, ...]) -> str:
    needs = f"{smallest.variant}, its smallest option, needs {gib(_largest_share(smallest))}"
    if len(smallest.device_bytes) > 1:
        needs += f" on each of {len(smallest.device_bytes)} GPUs"
    if not choices:
        largest = max((problem.device[name].usable_bytes for name in _gpus_of(problem, demand)), default=0)
        return f"{needs}; no endpoint that may serve it has such room (the largest GPU gives {gib(largest)})."
    if not rooms:
        return f"{needs} of host RAM, which is taken."
    roomiest = max(rooms, key=lambda name: rooms[name])
    left = gib(rooms[roomiest])
    if rooms[roomiest] < _largest_share(smallest):
        return f"{needs}; the most that is left where it may run is {left}, on {roomiest}."
    if len(smallest.device_bytes) > 1:
        return f"{needs}; {roomiest} has {left} left, but not enough others of its endpoint have."
    return f"{needs}; {roomiest} has {left} left, but a rule, a replica or the endpoint's limit forbids it."


def _gpus_of(problem: Problem, demand: Demand) -> set[str]:
    """The GPUs of all endpoints that have an option of the demand."""
    anywhere = any(option.endpoints is None for option in demand.options)
    named = {name for option in demand.options for name in option.endpoints or ()}
    return {name for endpoint in problem.endpoints if anywhere or endpoint.id in named for name in endpoint.devices}


def _remedies(problem: Problem, ledger: Ledger, demand: Demand, choices: tuple[Choice, ...], free: int) -> Iterator[Remedy]:
    """``free`` is the most that any GPU of its endpoints has left, also where no option of it can be."""
    solid = [option for option in demand.options if option.device_bytes and not option.spills]
    whole = [option for option in solid if len(option.device_bytes) == 1]
    if solid:
        steps = _quantise(min(whole or solid, key=_largest_share), free)
        for tried in (steps, _shorten(whole, free) if whole else ()):
            seated = (it for it, option in tried if _seat(ledger, choices_of(problem, replace(demand, options=(option,)))))
            yield from islice(seated, 1)
    yield from _relax(problem, ledger, demand)
    yield from _drop(problem, ledger, demand, choices)
    yield from _add_gpu(whole or list(demand.options))
    yield from _add_ram(ledger, choices)


def _quantise(smallest: Option, free: int) -> Iterator[tuple[Remedy, Option]]:
    """Steps down the ladder that may fit, the mildest first, taking all bytes for weights where only most of them are."""
    now = next((name for name in LADDER if name in smallest.variant.upper()), None)
    count = len(smallest.device_bytes)
    if now is None or (count == 1 and _largest_share(smallest) <= free):
        return
    each = f" on each of {count} GPUs" if count > 1 else ""
    for name in LADDER[LADDER.index(now) + 1 :]:
        sizes = tuple(int(size * BYTES_PER_WEIGHT[name] / BYTES_PER_WEIGHT[now]) for size in smallest.device_bytes)
        if max(sizes) <= free:
            sentence = f"Offer {name}: about {gib(max(sizes))}{each}, and {gib(free)} are left."
            yield Remedy(Change.QUANTISE, sentence, max(sizes)), replace(smallest, device_bytes=sizes, peak_bytes=())


def _shorten(whole: list[Option], free: int) -> Iterator[tuple[Remedy, Option]]:
    """A shorter context, reckoned from what the offered contexts of one variant differ by."""
    smallest = min(whole, key=_largest_share)
    longer = [it for it in whole if it.variant == smallest.variant and it.context_length > smallest.context_length]
    if not longer:
        return
    other = min(longer, key=lambda it: it.context_length)
    tokens = other.context_length - smallest.context_length
    excess = _largest_share(smallest) - free
    grown = _largest_share(other) - _largest_share(smallest)
    if grown <= 0 or excess <= 0:
        return
    context = smallest.context_length - -(-excess * tokens // grown)
    context -= context % 256
    if context >= SMALLEST_CONTEXT:
        sentence = f"Accept a context of {context:,} tokens of {smallest.variant}."
        remedy = Remedy(Change.SHORTEN, sentence, excess, context_length=context)
        size = _largest_share(smallest) - (smallest.context_length - context) * grown // tokens
        yield remedy, replace(smallest, device_bytes=(size,), peak_bytes=(), context_length=context)


def _relax(problem: Problem, ledger: Ledger, demand: Demand) -> Iterator[Remedy]:
    """Whether it would fit if it were free to go anywhere, or allowed to wait."""
    free = replace(demand, allowed_hosts=None, allowed_devices=None, pinned_devices=None)
    if free != demand and _seat(ledger, choices_of(problem, free)) is not None:
        yield Remedy(Change.RELAX, "Allow other hosts and devices: there is room elsewhere.", 0)
    patient = replace(demand, always_on=False, tolerated_wait_seconds=None)
    slow = demand.always_on or not all(waits(demand, option) for option in demand.options)
    if slow and _seat(ledger, choices_of(problem, patient)) is not None:
        yield Remedy(Change.RELAX, "Let it be loaded on demand: a swap space has room for it.", 0, on_demand=True)


def _seat(ledger: Ledger, choices: Iterable[Choice]) -> Assignment | None:
    return next((seat for choice in choices if (seat := ledger.seat(choice)) is not None), None)


def _drop(problem: Problem, ledger: Ledger, demand: Demand, choices: tuple[Choice, ...]) -> Iterator[Remedy]:
    """The least weight to give up for it: on some endpoint, by rising weight, until it fits."""
    offers = []
    for endpoint in sorted({choice.endpoint.id for choice in choices}):
        here = [placed for placed in ledger.assignments if placed.endpoint == endpoint and placed.demand != demand.name]
        here.sort(key=lambda placed: (problem.demand[placed.demand].weight, placed.option.total_bytes))
        mine = [choice for choice in choices if choice.endpoint.id == endpoint]
        on_one = [[it for it in here if name in it.devices] for name in sorted({it for one in mine for it in one.devices})]
        enough = cache(partial(_makes_room, problem, ledger, mine))
        offers += [
            dropped
            for group in (here, *on_one)
            for count in range(1, min(MOST_DROPPED, len(group)) + 1)
            if (dropped := _enough(enough, group, count))
        ]
    if offers:
        least = min(offers, key=lambda dropped: sum(problem.demand[it.demand].weight for it in dropped))
        names = tuple(dict.fromkeys(it.demand for it in least))
        room = sum(it.option.total_bytes for it in least)
        yield Remedy(Change.DROP, f"Drop {', '.join(names)}.", room, names)


def _enough(enough: Callable[[tuple[Assignment, ...]], bool], here: list[Assignment], count: int) -> tuple[Assignment, ...]:
    """One instance alone that makes room, else the first ``count`` of those listed; empty if neither does."""
    trials = [(placed,) for placed in here] if count == 1 else [tuple(here[:count])]
    return next(filter(enough, trials), ())


def _makes_room(problem: Problem, ledger: Ledger, choices: list[Choice], dropped: tuple[Assignment, ...]) -> bool:
    """Whether there is room for one of the choices without what is dropped."""
    gained = Counter[str]()
    for placed in dropped:
        gained.update(problem.taken(placed))
    if not any(_may_fit(ledger, choice, gained) for choice in choices):
        return False
    rest = Ledger.of(problem, [placed for placed in ledger.assignments if placed not in dropped])
    return _seat(rest, choices) is not None


def _may_fit(ledger: Ledger, choice: Choice, gained: Counter[str]) -> bool:
    """Whether enough devices have the bytes of the smallest share; what swaps may do with less."""
    least = min(choice.option.device_bytes, default=0)
    return choice.swapped or sum(ledger.free(name) + gained[name] >= least for name in choice.devices) >= choice.size


def _add_gpu(options: list[Option]) -> Iterator[Remedy]:
    """The smallest GPU on sale that holds the smallest option alone."""
    need = min((_largest_share(option) for option in options if option.device_bytes), default=0)
    size = next((size for size in GPU_GB if size * GB * USABLE_SHARE >= need), None)
    if need and size is not None:
        yield Remedy(Change.ADD_GPU, f"Add a GPU of {size} GB.", size * GB)


def _add_ram(ledger: Ledger, choices: tuple[Choice, ...]) -> Iterator[Remedy]:
    """Host RAM, where that alone keeps an option with layers on the CPU out."""
    short = [
        choice.option.host_ram_bytes - ledger.free(choice.ram)
        for choice in choices
        if choice.ram is not None
        and choice.option.spills
        and sum(ledger.free(name) >= max(choice.option.device_bytes, default=0) for name in choice.devices) >= choice.size
    ]
    missing = min((size for size in short if size > 0), default=0)
    if missing and not any(size <= 0 for size in short):
        yield Remedy(Change.ADD_RAM, f"Add {gib(missing)} of host RAM; it then {SPILL_WARNING}.", missing)
