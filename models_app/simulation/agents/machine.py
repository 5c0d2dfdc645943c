"""A simulated GPU host that writes its own samples: what does not change in them is encoded once.

A thousand hosts a second shall cost their process little, so that what a panel costs can be measured beside it.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models_app.backends.protocol import ModelState, ResidentModel
from models_app.simulation.devices import GIB, MIB
from models_app.simulation.figures import power_milliwatts, temperature_celsius, utilization_percent

ENDPOINT = "llama"
SERVER_PID = 1000
TOTAL_BYTES, RESERVED_BYTES, CONTEXT_BYTES = 80 * GIB, 600 * MIB, 512 * MIB
POWER_LIMIT_MILLIWATTS = 700_000
RAM_BYTES = 1024 * GIB
DETAIL = {
    "graphics_clock_mhz": 1980,
    "graphics_clock_max_mhz": 1980,
    "memory_clock_mhz": 2619,
    "memory_clock_max_mhz": 2619,
    "clock_holds": ["sw_power_cap"],
    "ecc_is_on": True,
    "ecc_corrected_count": 0,
    "ecc_uncorrected_count": 0,
    "pcie_generation": 5,
    "pcie_generation_max": 5,
    "pcie_width": 16,
    "pcie_width_max": 16,
    "compute_mode": "default",
    "mig_is_on": False,
}
DETAIL_EVERY = 10
"""Samples: the panel keeps the details that it was told last."""
WAVE = 64
"""So many figures of utilisation are made for each machine, and then repeat."""
MODELS = {"llama-3.3-70b-q4_k_m": 44 * GIB, "qwen2.5-32b-q8_0": 36 * GIB, "llama-3.1-8b-q8_0": 9 * GIB, "bge-m3": 1 * GIB}
"""What can be loaded, with the bytes that it takes on one GPU."""


@dataclass(slots=True)
class _Gpu:
    """Everything in ``head`` and ``tail`` is JSON that stays as it is until a model comes or goes."""

    uuid: str
    head: str
    held_bytes: int = 0
    tail: str = ""
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class _Resident:
    name: str
    gpu: int
    pid: int
    started_at: float = field(default_factory=time.time)


class Machine:
    """A host with some GPUs and one llama-server router. All of it follows from the seed, but for the times."""

    def __init__(self, seed: str, gpu_count: int) -> None:
        self.random = random.Random(seed)
        self.sampled: dict[str, int] = {}
        """How many samples of each GPU that answers were written, by its UUID."""
        self._gpus = [_Gpu(uuid := _uuid(self.random), _head(uuid, index)) for index in range(gpu_count)]
        self._wave = [_figures(0.6, step) for step in range(WAVE)]
        self._idle = [_figures(0.0, step) for step in range(WAVE)]
        self._resident: dict[str, _Resident] = {}
        self._next_pid = SERVER_PID + 1
        self._rest = ""
        self._details_due = 0
        for gpu in self._gpus:
            self.sampled[gpu.uuid] = 0
        for name in self.random.sample(sorted(MODELS), min(gpu_count, 2)):
            self.load(name)
        self._encode()

    def resident(self) -> tuple[ResidentModel, ...]:
        """The models in memory, as the router tells of them."""
        return tuple(
            ResidentModel(each.name, ModelState.LOADED, size_bytes=MODELS[each.name], process_id=each.pid)
            for each in self._resident.values()
        )

    def load(self, name: str) -> bool:
        """Load a model onto the emptiest GPU; whether there was room. One that is loaded stays where it is."""
        gpu = min(range(len(self._gpus)), key=lambda index: self._gpus[index].held_bytes, default=None)
        if name in self._resident:
            return True
        if gpu is None or self._gpus[gpu].held_bytes + MODELS[name] + CONTEXT_BYTES > TOTAL_BYTES - RESERVED_BYTES:
            return False
        self._resident[name] = _Resident(name, gpu, self._next_pid)
        self._next_pid += 1
        self._encode()
        return True

    def unload(self, name: str) -> None:
        """Free what a model holds, if it is loaded."""
        if self._resident.pop(name, None):
            self._encode()

    def lose(self, index: int) -> None:
        """A GPU falls off the bus."""
        self._gpus[index % len(self._gpus)].is_lost = True

    def recover(self) -> None:
        """Every GPU answers again."""
        for gpu in self._gpus:
            gpu.is_lost = False

    def tell_details(self) -> None:
        """Whoever listens now knows nothing yet: the next sample has all."""
        self._details_due = 0

    def write(self, boot_id: str, sequence: int, taken_at: datetime) -> str:
        """One sample, as ``agent.codec`` would write it; it counts as sampled."""
        has_details = sequence >= self._details_due
        if has_details:
            self._details_due = sequence + DETAIL_EVERY
        gpus = ",".join([self._written(index, gpu, sequence, has_details) for index, gpu in enumerate(self._gpus)])
        head = f'"boot_id":"{boot_id}","sequence":{sequence},"taken_at":"{taken_at.isoformat()}"'
        return f'{{{head},"gpus":[{gpus}],{self._rest}}}'

    def _written(self, index: int, gpu: _Gpu, sequence: int, has_details: bool) -> str:
        if gpu.is_lost:
            return f'{gpu.head},"state":"lost","reason":"The driver says that it fell off the bus."}}'
        self.sampled[gpu.uuid] += 1
        wave = self._wave if gpu.held_bytes else self._idle
        head = f"{gpu.head},{_DETAIL}" if has_details else gpu.head
        return f"{head},{wave[(sequence + 7 * index) % WAVE]},{gpu.tail}}}"

    def _encode(self) -> None:
        """Write down what holds until the next load or unload."""
        for index, gpu in enumerate(self._gpus):
            held = {each: MODELS[each.name] + CONTEXT_BYTES for each in self._resident.values() if each.gpu == index}
            gpu.held_bytes = sum(held.values())
            gpu.tail = _json(
                used_bytes=gpu.held_bytes,
                free_bytes=TOTAL_BYTES - RESERVED_BYTES - gpu.held_bytes,
                processes=[
                    {
                        "pid": each.pid,
                        "used_bytes": count_bytes,
                        "name": "llama-server",
                        "parent_pid": SERVER_PID,
                        "started_at": each.started_at,
                    }
                    for each, count_bytes in held.items()
                ],
            )
        workers = [{"pid": each.pid, "alias": each.name} for each in self._resident.values()]
        self._rest = _json(
            ram={"total_bytes": RAM_BYTES, "available_bytes": RAM_BYTES * 3 // 4},
            driver_version="580.95.05",
            servers=[{"endpoint": ENDPOINT, "server_pid": SERVER_PID, "workers": workers}],
        )


def _head(uuid: str, index: int) -> str:
    figures = {"total_bytes": TOTAL_BYTES, "driver_reserved_bytes": RESERVED_BYTES}
    limit = {"power_limit_milliwatts": POWER_LIMIT_MILLIWATTS}
    return "{" + _json(uuid=uuid, index=index, name="NVIDIA H100 80GB HBM3", **figures, **limit)


def _figures(activity: float, step: int) -> str:
    utilization = utilization_percent(activity, 0, step, 0)
    return _json(
        utilization_percent=utilization,
        temperature_celsius=temperature_celsius(utilization, None),
        power_milliwatts=power_milliwatts(POWER_LIMIT_MILLIWATTS, utilization),
    )


def _json(**members: Any) -> str:
    """The members of an object, without its braces."""
    return json.dumps(members, separators=(",", ":"))[1:-1]


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_DETAIL = _json(detail=DETAIL)
