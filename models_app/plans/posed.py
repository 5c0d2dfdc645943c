"""A problem with what its options mean: from the solver's assignments back to what endpoints are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models_app.backends.protocol import LoadOptions
from models_app.operations.fleet_models import hue
from models_app.plans.demand import DemandSpec
from models_app.plans.fleet import Fleet, Server
from models_app.plans.records import Instance
from models_app.plans.ways import Way
from models_app.solver.types import Assignment, Option, Problem

FOREVER_SECONDS = -1
NOBODY = "loaded:"
"""How the demand of what nobody demands begins, before the endpoint's id and the model's name."""


@dataclass(frozen=True, slots=True)
class Unplaceable:
    """A demand that the solver is not asked about. ``code`` is ``names_nothing`` or ``unknown_place``."""

    spec: DemandSpec
    code: str
    reason: str


@dataclass
class Posed:
    """A problem and what its options mean: ``ways`` by the demand's name, the option and the endpoint's id.

    ``unplaceable`` are the demands that are not in it.
    """

    fleet: Fleet
    problem: Problem
    specs: dict[str, DemandSpec]
    ways: dict[str, dict[Option, dict[int, Way]]]
    loaded: dict[tuple[str, str], Instance]
    unplaceable: tuple[Unplaceable, ...]
    left_out: tuple[str, ...]

    def instance(self, placed: Assignment) -> Instance:
        """An assignment as endpoints understand it."""
        server = self.fleet.server[endpoint_id(placed.endpoint)]
        way = self.ways.get(placed.demand, {}).get(placed.option, {}).get(server.id)
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
