"""Fleets as teams have them, by hand: hosts as ``count x GiB``, demands as ``billions!priority*replicas``, ? on demand."""

from __future__ import annotations

import re

from benchmarks.fleets import GIB, QUANTISATIONS, options_of
from models_app.solver.types import Demand, Device, DeviceKind, DeviceSets, Endpoint, Problem

FLEETS = {
    "one small card": ("1x8", "8!1 8!2 0.3!1 3!3"),
    "one card, five assistants": ("1x12", "8!1? 8!2? 3!3? 8!3? 0.3!1"),
    "one 24 GB card": ("1x24", "14!1 8!2 8!3 0.3!1 3!2"),
    "a 24 GB card and a large model": ("1x24", "32!1 8!2 0.3!2 3!3"),
    "two unlike cards": ("1x24 1x8", "14!1 8!1 8!3 3!2 0.3!1 14!4"),
    "two cards, one 70B": ("2x24", "70!1 8!2 0.3!1 8!3"),
    "two cards, two replicas": ("2x24", "8!1*2 14!2 14!3 3!2 0.3!1*2"),
    "swap everything": ("1x24", "14!1? 14!2? 8!1? 27!3? 8!4? 0.3!1 3!3?"),
    "a workstation and a server": ("1x16 2x48", "70!1 32!2 8!1*2 14!3 0.3!1 27!3"),
    "four 24 GB cards": ("4x24", "70!1 14!1*2 8!2*2 27!3 0.3!1 3!3 32!4"),
    "four cards, four replicas": ("4x24", "8!1*4 14!2*2 27!3 0.3!1*2 3!2"),
    "eight 24 GB cards": ("8x24", "70!1 70!3 32!2 27!2 14!1*2 14!3 8!1*3 8!2 0.3!1*2"),
    "two 80 GB cards": ("2x80", "70!1 120!2 32!3 8!1*2 14!2 0.3!1 27!4"),
    "eight 80 GB cards": ("8x80", "120!1*2 70!1*2 70!2 32!2*2 27!3 14!1*3 8!1*4 0.3!1*2 120!3"),
    "three hosts of one": ("1x24 1x24 1x24", "27!1 14!1 14!2 8!2*2 8!3 0.3!1 32!3"),
    "three unlike hosts": ("1x12 2x24 1x48", "32!1 27!2 14!2 14!3 8!1*2 8!3 3!2 0.3!1 70!4"),
    "old cards": ("4x8", "8!1 8!2 8!3 3!1*2 3!3 14!3 0.3!1"),
    "mostly embeddings": ("2x12", "0.3!1*2 0.3!2*2 1.5!2 3!3 8!2 8!3 14!4"),
    "a night plan": ("4x24", "70!1 70!2 32!3 0.3!4"),
    "day and night": ("4x24 4x48", "120!2 70!1*2 32!1 32!2 27!2 14!1*2 14!3 8!1*4 0.3!1 3!4"),
    "sixteen cards": ("8x24 4x48 4x80", "120!1 120!3 70!1*3 70!2 32!1*2 32!2 27!2*2 14!1*4 14!3 8!1*6 3!2 0.3!1*3"),
    "all equal": ("4x24", "14!3 14!3 14!3 14!3 14!3 14!3 14!3 14!3"),
}
_DEMAND = re.compile(r"([\d.]+)!(\d)(?:\*(\d+))?(\?)?")
_CHOICES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")


def handmade(name: str) -> Problem:
    """One of ``FLEETS``. Every demand offers four quantisations at 16,384 and 8,192 tokens."""
    hosts, demands = FLEETS[name]
    devices: list[Device] = []
    endpoints: list[Endpoint] = []
    for at, host in enumerate(hosts.split()):
        count, size = map(int, host.split("x"))
        names = tuple(f"host{at}/gpu{index}" for index in range(count))
        capacity = size * GIB * 49 // 50
        devices += [Device(gpu, f"host{at}", DeviceKind.VRAM, capacity, capacity // 20) for gpu in names]
        devices.append(Device(f"host{at}/ram", f"host{at}", DeviceKind.HOST_RAM, 64 * GIB, 8 * GIB))
        endpoints.append(Endpoint(f"host{at}/server", f"host{at}", names, DeviceSets.ANY))
    wanted = tuple(_demand(at, text) for at, text in enumerate(demands.split()))
    return Problem(tuple(devices), tuple(endpoints), wanted)


def _demand(at: int, text: str) -> Demand:
    found = _DEMAND.fullmatch(text)
    assert found, text
    billions, priority, replicas, on_demand = found.groups()
    assert set(_CHOICES) <= QUANTISATIONS.keys()
    options = tuple(options_of(float(billions), _CHOICES, [16384, 8192], 1, f"demand{at}"))
    return Demand(f"demand{at}", options, int(priority), int(replicas or 1), always_on=not on_demand)
