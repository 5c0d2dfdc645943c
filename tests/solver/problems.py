"""Small problems for the tests: one host of a few GPUs, and demands that are a few bytes big."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from models_app.solver.types import Demand, Device, DeviceKind, DeviceSets, Endpoint, Option, Problem, Rule, Scope


def gpu(name: str, size: int, host: str = "host", **more: Any) -> Device:
    return Device(name, host, DeviceKind.VRAM, size, **more)


def one_host(*sizes: int, ram: int = 0, **endpoint: Any) -> tuple[tuple[Device, ...], tuple[Endpoint, ...]]:
    """GPUs ``gpu0`` … of these sizes, host RAM if any, and one endpoint that sees them all."""
    devices = [gpu(f"gpu{at}", size) for at, size in enumerate(sizes)]
    memory = [Device("ram", "host", DeviceKind.HOST_RAM, ram)] if ram else []
    names = tuple(device.id for device in devices)
    return (*devices, *memory), (Endpoint("server", "host", names, **endpoint),)


def wants(name: str, *sizes: int, **more: Any) -> Demand:
    """A demand with a one-GPU option of each size, each of less quality than the one before."""
    options = tuple(Option(f"{name}-{size}", (size,), quality=10 - 2 * at) for at, size in enumerate(sizes))
    return Demand(name, options, **more)


def small_problem(seed: int) -> Problem:
    """Up to 3 GPUs × 6 demands with a bit of everything, in raw bytes."""
    rng = random.Random(seed)
    count = rng.randint(1, 3)
    sets, copies = rng.choice(tuple(DeviceSets)), rng.random() < 0.5
    devices, endpoints = one_host(
        *(rng.randint(800, 2400) for _ in range(count)),
        ram=rng.randint(500, 3000),
        sets=sets,
        copies=copies,
        max_models=rng.choice((None, None, count + 1)),
    )
    demands = tuple(_demand(rng, f"d{at}") for at in range(rng.randint(2, 6 if count < 3 else 4)))
    rules = ()
    if rng.random() < 0.4:
        pair = frozenset(it.name for it in rng.sample(demands, 2))
        rules = (Rule(pair, Scope.DEVICE, apart=rng.random() < 0.5),)
    if rng.random() < 0.3:
        pinned = replace(demands[0], pinned_devices=frozenset({"gpu0"}), replicas=1)
        demands = (pinned, *demands[1:])
    return Problem(devices, endpoints, demands, rules)


def _demand(rng: random.Random, name: str) -> Demand:
    size = rng.randint(150, 1500)
    options = [Option(f"{name}-big", (size,), quality=10, load_seconds=5)]
    if rng.random() < 0.6:
        options.append(Option(f"{name}-small", (size * 2 // 3,), quality=8, load_seconds=3))
    if rng.random() < 0.3:
        options.append(Option(f"{name}-big", (size // 2 + 90, size // 2 + 20), quality=9))
    if rng.random() < 0.3:
        options.append(Option(f"{name}-small", (size // 3,), host_ram_bytes=size // 3, gpu_layers=9, quality=8))
    return Demand(
        name,
        tuple(options),
        priority=rng.randint(1, 5),
        replicas=rng.choice((1, 1, 1, 2)),
        always_on=rng.random() < 0.7,
        tolerated_wait_seconds=rng.choice((None, 4.0)),
    )
