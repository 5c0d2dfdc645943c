"""How long does a plan take, from the rows to the answer? Snapshot, enumeration (cold and again), solve.

    python -m benchmarks.plan_solving

Hosts of two 24 GiB GPUs with an Ollama each, every one with every model; each demand names three variants of its own and
accepts contexts from 4k to 32k. Every variant has a header of its own, so that a cold enumeration reckons each estimate
anew. Seconds are of the processor: a shared machine's clock says little. In memory, nothing is kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

os.environ["DATABASE_URL"] = "sqlite://:memory:"
from controlpanel import asgi  # noqa: F401 - first: it sets Django up

# isort: split
from django.core.management import call_command

from models_app.catalog.headers import encoded, stored_shape
from models_app.catalog.models import Installation, VariantHeader
from models_app.gguf.ollama_show import header_from_show
from models_app.inventory.models import Endpoint
from models_app.operations.facts import installed_facts
from models_app.operations.reckoning import _from_header
from models_app.plans import solving
from models_app.plans.answers import answer_columns
from models_app.plans.demand import DemandSpec
from models_app.plans.loading import LoadTimes
from models_app.plans.naming import Library
from models_app.plans.options import Enumerator
from models_app.plans.problem import Posed, pose
from models_app.plans.snapshot import take_snapshot
from models_app.plans.solving import solve
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.ollama_describe import show
from tests.factories import VariantFactory
from tests.plans.fleets import OneHost, one_host

MODELS = ("llama3.2:3b", "llama3.1:8b", "qwen2.5:7b", "qwen2.5-coder:14b", "mistral-small:24b")
VARIANTS_A_DEMAND = 3
SIZES = ((2, 10), (8, 30), (16, 60), (16, 100))
"""GPUs and demands."""


PATIENCE_FACTOR = 30.0
"""So that the clock of a shared machine does not end a solve before its second of work is done."""


def main() -> None:
    solving.WALL_FACTOR = PATIENCE_FACTOR
    call_command("migrate", verbosity=0)
    print("GPUs  demands  options  snapshot  enumerated  again  solved (1 s of work)  met  proven")
    for gpus, demands in SIZES:
        call_command("flush", verbosity=0, interactive=False)
        _measure(gpus, demands)


def _measure(gpus: int, count: int) -> None:
    hosts = [one_host(gpus=2) for _ in range(gpus // 2)]
    specs = [_demand(hosts, number) for number in range(count)]
    for host in hosts:
        host.sample()
    for known in (_from_header, stored_shape):
        known.cache_clear()
    snapshot, fleet = _timed(take_snapshot)
    cold, posed = _timed(lambda: _posed(fleet, specs))
    warm, _ = _timed(lambda: _posed(fleet, specs))
    seconds, solved = _timed(lambda: solve(fleet, specs))
    options = sum(len(demand.options) for demand in posed.problem.demands)
    columns = answer_columns(solved, 1.0)
    proven = sum(goal["value"] == goal["bound"] for goal in columns["goals"])
    figures = f"{snapshot:7.2f} s {cold:9.2f} s {warm:4.2f} s {seconds - warm:19.2f} s"
    print(f"{gpus:4} {count:8} {options:8} {figures} {columns['figures']['met']:4} {proven:3} of {len(columns['goals'])}")


def _posed(fleet: Any, specs: list[DemandSpec]) -> Posed:
    facts = installed_facts(Endpoint.objects.select_related("host"))
    enumerator = Enumerator(fleet, Library(facts), LoadTimes())
    return pose(fleet, specs, {spec.name: enumerator.enumerate(spec) for spec in specs})


def _demand(hosts: list[OneHost], number: int) -> DemandSpec:
    names = [f"model{number}:{variant}" for variant in range(VARIANTS_A_DEMAND)]
    model = CATALOGUE[MODELS[number % len(MODELS)]]
    for variant, name in enumerate(names):
        other = replace(model, name=name, feed_forward_length=model.feed_forward_length + 256 * (number * 3 - variant))
        row = VariantFactory(name=name, file_size_bytes=model.file_bytes, layer_count=model.layers)
        content = encoded(header_from_show(show(other, verbose=False)))
        VariantHeader.objects.create(variant=row, fingerprint=name, source=VariantHeader.Source.ENDPOINT, content=content)
        for host in hosts:
            Installation.objects.create(
                variant=row, endpoint=host.endpoint, name=name, size_bytes=model.file_bytes, seen_at=row.created_at
            )
    return DemandSpec(
        name=f"demand {number}",
        model=names[0],
        variants=tuple(names),
        context_length=32_768,
        least_context_length=4096,
        priority=1 + number % 5,
        on_demand=number % 3 == 0,
    )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    done = work()
    return time.process_time() - begun, done


if __name__ == "__main__":
    main()
