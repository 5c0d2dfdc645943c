"""Hot swap on generated traces: loads per 1,000 requests against LRU, a keep-alive (TTL) and the offline optimum.

The offline optimum evicts what is used again last (Belady); with models of unequal sizes that is a very good answer rather
than a proven one. Prediction loads the likely next model while nobody waits: its column counts the requests that waited.

    python -m benchmarks.hot_swap [requests]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from models_app.solver.hot_swap import Resident, SwapModel, make_room
from models_app.solver.prediction import Predictor

GIB = 1024**3
SPACE_BYTES = 24 * GIB
KEEP_ALIVE_SECONDS = 300.0
SIZES = ((2, 3), (4, 3), (5, 1), (5, 3), (6, 3), (8, 2), (9, 3), (9, 5), (14, 3), (20, 4))
"""GiB and priority."""
MODELS = tuple(
    SwapModel(f"model{at}", size * GIB, priority)
    for at, (size, priority) in enumerate(
        ((2, 3), (4, 3), (5, 1), (5, 3), (6, 3), (8, 2), (9, 3), (9, 5), (14, 3), (20, 4))
    )
)
Trace = list[tuple[float, SwapModel]]
Evict = Callable[[SwapModel, list[Resident], float, int], tuple[str, ...]]


def independent(rng: random.Random, requests: int) -> Trace:
    """Each request for itself, some models far more often than others."""
    weights = [1 / (rank + 1) for rank in range(len(MODELS))]
    return _timed(rng, [rng.choices(MODELS, weights)[0] for _ in range(requests)])


def sessions(rng: random.Random, requests: int) -> Trace:
    """People stay with a model for a while, then go where they like."""
    asked: list[SwapModel] = []
    while len(asked) < requests:
        asked += [rng.choice(MODELS)] * rng.randint(1, 8)
    return _timed(rng, asked[:requests])


def pipelines(rng: random.Random, requests: int) -> Trace:
    """Jobs that call the same models in the same order, with some noise."""
    chains = [rng.sample(MODELS, rng.randint(2, 4)) for _ in range(3)]
    asked: list[SwapModel] = []
    while len(asked) < requests:
        asked += rng.choice(chains) if rng.random() < 0.85 else [rng.choice(MODELS)]
    return _timed(rng, asked[:requests])


def _timed(rng: random.Random, asked: list[SwapModel]) -> Trace:
    at, trace = 0.0, []
    for model in asked:
        at += rng.expovariate(1 / 40)
        trace.append((at, model))
    return trace


@dataclass
class Space:
    """The swap space under a policy, and what it cost."""

    evict: Evict
    residents: list[Resident] = field(default_factory=list)
    loads: int = 0
    waits: int = 0
    urgent_waits: int = 0

    def ask(self, model: SwapModel, at: float, index: int) -> None:
        if not self.holds(model):
            self.waits += 1
            self.urgent_waits += model.priority <= 2
            self.load(model, at, index)
        self.residents = [replace(it, used_at=at) if it.model is model else it for it in self.residents]

    def holds(self, model: SwapModel) -> bool:
        return any(it.model is model for it in self.residents)

    def load(self, model: SwapModel, at: float, index: int) -> None:
        gone = self.evict(model, self.residents, at, index)
        self.residents = [it for it in self.residents if it.model.name not in gone]
        assert sum(it.model.bytes for it in self.residents) + model.bytes <= SPACE_BYTES
        self.residents.append(Resident(model, at, at))
        self.loads += 1


def berth(wanted: SwapModel, residents: list[Resident], at: float, _: int) -> tuple[str, ...]:
    return make_room(wanted, residents, SPACE_BYTES, at).evict


def least_recent(wanted: SwapModel, residents: list[Resident], _at: float, _: int) -> tuple[str, ...]:
    return _in_order(wanted, sorted(residents, key=lambda it: it.used_at))


def keep_alive(wanted: SwapModel, residents: list[Resident], at: float, index: int) -> tuple[str, ...]:
    """What has been idle for the keep-alive is gone; then the least recent."""
    idle = [it for it in residents if at - it.used_at > KEEP_ALIVE_SECONDS]
    rest = [it for it in residents if it not in idle]
    return (*(it.model.name for it in idle), *least_recent(wanted, rest, at, index))


def offline(trace: Trace) -> Evict:
    asked = [model for _, model in trace]

    def evict(wanted: SwapModel, residents: list[Resident], _at: float, index: int) -> tuple[str, ...]:
        def next_use(it: Resident) -> int:
            return next((after for after in range(index + 1, len(asked)) if asked[after] is it.model), len(asked))

        return _in_order(wanted, sorted(residents, key=next_use, reverse=True))

    return evict


def _in_order(wanted: SwapModel, order: list[Resident]) -> tuple[str, ...]:
    missing = sum(it.model.bytes for it in order) + wanted.bytes - SPACE_BYTES
    gone = []
    for it in order:
        if missing <= 0:
            break
        gone.append(it.model.name)
        missing -= it.model.bytes
    return tuple(gone)


def run(trace: Trace, evict: Evict, predict: bool = False, expire: bool = False) -> Space:
    space, predictor = Space(evict), Predictor()
    by_name = {model.name: model for model in MODELS}
    for index, (at, model) in enumerate(trace):
        if expire:
            space.residents = [it for it in space.residents if at - it.used_at <= KEEP_ALIVE_SECONDS]
        space.ask(model, at, index)
        predictor.observe(model.name, at)
        likely = predictor.next(at) if predict else None
        if likely is not None and not space.holds(by_name[likely.model]):
            space.load(by_name[likely.model], at, index)
    return space


def main(requests: int) -> None:
    print("waits per 1,000 requests (loads in brackets); then those for the models of priority 1 and 2")
    for make in (independent, sessions, pipelines):
        trace = make(random.Random(7), requests)
        results = {
            "Berth": run(trace, berth),
            "Berth, prediction": run(trace, berth, predict=True),
            "LRU": run(trace, least_recent),
            "TTL": run(trace, keep_alive, expire=True),
            "offline": run(trace, offline(trace)),
        }
        print(make.__name__)
        for name, space in results.items():
            scale = 1000 / requests
            ratio = space.waits / results["offline"].waits
            print(
                f"  {name:18} {space.waits * scale:4.0f} ({space.loads * scale:4.0f})  "
                f"{space.urgent_waits * scale:4.0f}   {ratio:.2f} × offline"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
