"""Random fleets and demands of realistic sizes, for the benchmarks of placement and transitions.

A demand offers one to three quantisations at the context wanted and perhaps half of it, on one GPU or split, and one with
half of its layers left to the CPU. Sizes are weights (parameters × bytes per weight), a KV cache by tokens, and an overhead
for each device. The total of what every demand would like best is 0.8 to 2 × the VRAM.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from models_app.solver.types import Demand, Device, DeviceKind, DeviceSets, Endpoint, Option, Problem, Rule, Scope

GIB = 1024**3
MODELS = {0.3: 12, 1.5: 28, 3: 40, 4: 72, 8: 128, 14: 160, 27: 280, 32: 256, 70: 320, 120: 290}
"""Billions of parameters, and KiB of KV cache for a token."""
QUANTISATIONS = {"Q8_0": (1.07, 10), "Q6_K": (0.83, 10), "Q5_K_M": (0.73, 9), "Q4_K_M": (0.61, 8), "Q3_K_M": (0.5, 6)}
"""Bytes a weight, and the quality that is given to it."""
FLEET_SIZES = (1, 1, 2, 2, 2, 3, 4, 4, 4, 6, 8, 8, 10, 12, 14, 16)
GPU_GIB = (8, 12, 16, 24, 24, 32, 48, 80)
OVERHEAD_BYTES = 600 * 1024**2
MOST_DRAWS = 600
READ_BYTES_A_SECOND = 2.5e9


def fleet(rng: random.Random, gpus: int) -> tuple[tuple[Device, ...], tuple[Endpoint, ...]]:
    """Hosts of one to eight GPUs, mostly alike, each with an Ollama, a router or managed llama-servers."""
    devices: list[Device] = []
    endpoints: list[Endpoint] = []
    placed = 0
    while placed < gpus:
        host = f"host{len(endpoints)}"
        count = min(gpus - placed, rng.choice((1, 1, 2, 2, 4, 4, 8)))
        alike = rng.random() < 0.8
        size = rng.choice(GPU_GIB)
        names = [f"{host}/gpu{index}" for index in range(count)]
        for name in names:
            capacity = (size if alike else rng.choice(GPU_GIB)) * GIB * 49 // 50
            others = rng.randrange(GIB) if rng.random() < 0.1 else 0
            devices.append(Device(name, host, DeviceKind.VRAM, capacity, capacity // 20, others))
        devices.append(Device(f"{host}/ram", host, DeviceKind.HOST_RAM, rng.choice((32, 64, 128, 256)) * GIB, 8 * GIB))
        endpoints.append(_endpoint(rng, host, tuple(names)))
        placed += count
    return tuple(devices), tuple(endpoints)


def _endpoint(rng: random.Random, host: str, names: tuple[str, ...]) -> Endpoint:
    sets, copies = rng.choice(((DeviceSets.ONE_OR_WHOLE, False), (DeviceSets.ANY, False), (DeviceSets.ANY, True)))
    return Endpoint(f"{host}/server", host, names, sets, copies, rng.choice((None, None, 3 * len(names))))


def demand(rng: random.Random, name: str, small: bool = False) -> Demand:
    """A demand for one model; small ones are more frequent, embeddings stay small."""
    weights = (8, 6, 8, 8, 14, *((0,) * 5 if small else (8, 5, 5, 3, 1)))
    billions = rng.choices(tuple(MODELS), weights=weights)[0]
    first = rng.randrange(3)
    quantisations = tuple(QUANTISATIONS)[first : first + rng.randint(1, 3)]
    wanted = rng.choice((4096, 8192, 16384, 32768))
    contexts = [wanted >> halved for halved in range(rng.randint(1, 2))]
    slots = rng.choice((1, 1, 2, 4))
    options = tuple(options_of(billions, quantisations, contexts, slots, name))
    always_on = rng.random() < 0.7
    return Demand(
        name,
        options,
        priority=rng.choices((1, 2, 3, 4, 5), weights=(2, 3, 5, 3, 2))[0],
        replicas=rng.choices((1, 2, 3), weights=(85, 12, 3))[0] if always_on else 1,
        always_on=always_on,
        tolerated_wait_seconds=None if always_on else rng.choice((5.0, 15.0, 60.0)),
    )


def options_of(
    billions: float, quantisations: tuple[str, ...], contexts: list[int], slots: int, name: str
) -> Iterator[Option]:
    for quantisation in quantisations:
        per_weight, quality = QUANTISATIONS[quantisation]
        weights = int(billions * 1e9 * per_weight)
        for shorter, context in enumerate(contexts):
            cache = MODELS[billions] * 1024 * context * slots
            whole = Option(
                f"{name}:{quantisation}",
                (weights + cache + OVERHEAD_BYTES,),
                OVERHEAD_BYTES // 2,
                context,
                slots,
                quality=quality - shorter,
                latency_ms=int(100 + weights / 4e7),
                load_seconds=round(2 + weights / READ_BYTES_A_SECOND, 1),
            )
            yield whole
            for size in (2, 4) if weights + cache > 20 * GIB else ():
                share = (weights + cache) // size + OVERHEAD_BYTES
                yield replace(whole, device_bytes=(share,) * size, latency_ms=whole.latency_ms * 11 // 10)
    yield _half(whole, weights, cache)


def _half(smallest: Option, weights: int, cache: int) -> Option:
    """Half the layers of the smallest on the GPU, the rest on the CPU."""
    half = (weights + cache) // 2
    return replace(
        smallest,
        device_bytes=(half + OVERHEAD_BYTES,),
        host_ram_bytes=half + OVERHEAD_BYTES // 2,
        gpu_layers=20,
        latency_ms=smallest.latency_ms * 4,
    )


def problem(seed: int, gpus: int | None = None, most_demands: int = 60, small: bool = False) -> Problem:
    """A random problem. Without ``gpus`` their number is drawn, small fleets more often than large ones.

    Demands are added until they want a drawn 0.8 to 2 × the VRAM; ``small`` leaves out models above 8 billion parameters.
    """
    rng = random.Random(seed)
    ratio = rng.uniform(0.8, 2.0)
    devices, endpoints = fleet(rng, gpus or rng.choice(FLEET_SIZES))
    vram = sum(device.usable_bytes for device in devices if device.is_gpu)
    demands: list[Demand] = []
    for _ in range(MOST_DRAWS):
        if _wanted(demands) >= ratio * vram:
            break
        drawn = demand(rng, f"demand{len(demands)}", small)
        if _wanted([*demands, drawn]) > 2 * vram:
            continue
        if len(demands) == most_demands:
            demands.remove(min(demands, key=lambda it: _wanted([it])))
        demands.append(drawn)
    named = [replace(drawn, name=f"demand{at}") for at, drawn in enumerate(demands)]
    return Problem(devices, endpoints, tuple(named), tuple(_rules(rng, named)))


def _wanted(demands: list[Demand]) -> int:
    """The bytes of what every demand would like best."""
    return sum(sum(it.options[0].device_bytes) * it.replicas for it in demands)


def _rules(rng: random.Random, demands: list[Demand]) -> Iterator[Rule]:
    if len(demands) >= 6 and rng.random() < 0.5:
        names = [drawn.name for drawn in rng.sample(demands, 4)]
        yield Rule(frozenset(names[:2]), Scope.DEVICE, apart=True)
        yield Rule(frozenset(names[2:]), Scope.HOST, apart=False)
