"""What a host shows: no news of it, its memory runs out, or it swaps."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Figure, Limits, Reading, Rule, Severity, Unit, lasting
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_host
from models_app.operations.wording import gib


def _silent(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past
    for host in facts.hosts:
        if host.sampled_at is None:  # never measured: its endpoints alone speak for it
            continue
        seconds = max(0.0, (facts.at - host.sampled_at).total_seconds())
        if seconds <= limits.clear_at:
            yield Reading(of_host(host), seconds)
            continue
        yield Reading(
            of_host(host),
            seconds,
            f"No sample for {lasting(seconds)}: all its figures are old.",
            (Figure("Silent for", round(seconds), Unit.SECONDS), Figure("GPUs", len(host.gpus))),
            "Check that the machine runs, that its network is up, and that the program that measures it is alive.",
        )


HOST_LOST = Rule(
    "host_lost",
    "Host lost",
    "How long a host that was measured has sent no sample. After a start of the panel itself, hosts have the duration to "
    "come back.",
    Severity.CRITICAL,
    Unit.SECONDS,
    Limits(30, 10, 20),
    _silent,
)


def _ram(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past
    for host in facts.hosts:
        ram = facts.ram.get(host.id)
        if ram is None or not ram.total_bytes:
            yield Reading(of_host(host), None)
            continue
        used_bytes = ram.total_bytes - ram.available_bytes
        percent = 100 * used_bytes / ram.total_bytes
        if percent <= limits.clear_at:
            yield Reading(of_host(host), percent)
            continue
        yield Reading(
            of_host(host),
            percent,
            f"{gib(used_bytes)} of {gib(ram.total_bytes)} RAM are taken, {gib(ram.available_bytes)} are left.",
            (Figure("Available", ram.available_bytes, Unit.BYTES), Figure("RAM", ram.total_bytes, Unit.BYTES)),
            "Layers that do not fit into VRAM lie in RAM: unload such a model, or stop another program.",
        )


RAM_FULL = Rule(
    "ram_full",
    "RAM nearly full",
    "The share of a host's memory that no new process could get. When it is gone the kernel ends the largest process.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(92, 87, 60),
    _ram,
)


def _swap(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host in facts.hosts:
        ram = facts.ram.get(host.id)
        if ram is None or not ram.swap_total_bytes:
            yield Reading(of_host(host), None if ram is None else 0.0)
            continue
        yield Reading(
            of_host(host),
            100 * ram.swap_used_bytes / ram.swap_total_bytes,
            f"{gib(ram.swap_used_bytes)} of {gib(ram.swap_total_bytes)} swap are in use.",
            (Figure("Swap in use", ram.swap_used_bytes, Unit.BYTES), Figure("Available", ram.available_bytes, Unit.BYTES)),
            "A model that is swapped out answers at the pace of the disk. Free RAM, then swapoff and swapon bring it back.",
        )


SWAPPING = Rule(
    "swapping",
    "Host swaps",
    "The share of a host's swap in use. Weights and caches in swap make answers hundreds of times slower.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(50, 30, 120),
    _swap,
)


def _pressure(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host in facts.hosts:
        ram = facts.ram.get(host.id)
        pressure = ram.pressure if ram else None
        if ram is None or pressure is None:
            yield Reading(of_host(host), None if ram is None else 0.0)
            continue
        yield Reading(
            of_host(host),
            pressure.some_percent,
            f"In {pressure.some_percent:.0f} % of the last minute a program waited for memory, in "
            f"{pressure.full_percent:.0f} % all of them did.",
            (
                Figure("Some waited", pressure.some_percent, Unit.PERCENT),
                Figure("All waited", pressure.full_percent, Unit.PERCENT),
                Figure("Available", ram.available_bytes, Unit.BYTES),
                Figure("Swap in use", ram.swap_used_bytes, Unit.BYTES),
            ),
            "Mapped files of models that do not fit are read again and again. Free RAM, or load fewer layers on the CPU.",
        )


MEMORY_PRESSURE = Rule(
    "memory_pressure",
    "Programs wait for memory",
    "The share of the last minute in which some program on a host waited for memory (Linux's pressure stall information).",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(20, 5, 60),
    _pressure,
)
