"""Success is measured: what an endpoint says, held against what the GPUs show. Pure.

A load is confirmed when the endpoint lists the model *and* memory rose by at least ``LEAST_SHARE`` of what is expected: of
the estimate's weights and KV cache, or of the endpoint's own claim if that is less, for both err on the high side (small
models keep up to half of their file in host RAM). An unload is confirmed when the model is gone *and* as much came back.

Where no GPU has a part in it, the model's own process is looked at: what it holds resident in host RAM. That can confirm
but not refute, for the kernel may drop the pages of mapped weights at any time: what falls short is the endpoint's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models_app.backends.protocol import ModelState, Observation, ResidentModel
from models_app.operations.reservations import usable_gpus, used_by_gpu
from models_app.operations.wording import gib
from models_app.probes.types import HostSample

LEAST_SHARE = 0.4
GONE_SHARE = 0.9
"""What a process must have given back of its own bytes: it ends, or it does not."""
PARTLY_SHARE = 0.98
"""Below this share of its size in VRAM a model is said to lie partly in host RAM."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The endpoint and the GPUs at one moment.

    ``process_bytes`` are the model's own by GPU, ``ram_bytes`` what its processes hold resident in host RAM; ``None`` where
    they do not show. ``pids`` are those processes as far as they are this machine's.
    """

    observation: Observation
    observed_at: datetime
    sample: HostSample | None
    process_bytes: Mapping[str, int] | None = None
    ram_bytes: int | None = None
    pids: frozenset[int] = frozenset()

    @property
    def used(self) -> dict[str, int]:
        """Used bytes by the GPU's UUID."""
        return used_by_gpu(self.sample)


@dataclass(frozen=True, slots=True)
class Judgement:
    """``verified_by`` is empty while nothing is confirmed; ``code`` and ``sentence`` then say what is wrong so far.

    ``is_final``: waiting longer would change nothing. ``memory`` names what ``moved_bytes`` are of.
    """

    verified_by: str = ""
    code: str = ""
    sentence: str = ""
    is_final: bool = False
    moved_bytes: int | None = None
    gpu_bytes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    memory: str = "VRAM"


def judge_load(
    reading: Reading,
    name: str,
    baseline: Mapping[str, int],
    expected_bytes: int | None,
    *,
    on_gpu: bool,
    evicted_bytes: int = 0,
) -> Judgement:
    """Whether ``name`` is loaded. ``baseline`` are the used bytes before; ``evicted_bytes`` what others gave back since.

    ``on_gpu`` is false for a load with 0 GPU layers.
    """
    resident = reading.observation.find(name)
    if resident is None or resident.state is ModelState.STOPPING:
        why = reading.observation.failed.get(name, "")
        return Judgement(
            code="not_listed", sentence=f"The endpoint reported success, but does not list {name}. {why}".strip()
        )
    if resident.state is ModelState.LOADING:
        return Judgement(code="load_timed_out", sentence=f"{name} is still loading.")
    if not on_gpu or not usable_gpus(reading.sample):
        return _judge_ram(reading, resident, expected_bytes)
    return _judge_rise(reading, resident, baseline, expected_bytes, evicted_bytes)


def _judge_ram(reading: Reading, resident: ResidentModel, expected_bytes: int | None) -> Judgement:
    if not reading.ram_bytes or not (expected_bytes or resident.size_bytes):
        return Judgement("endpoint")
    if reading.ram_bytes >= _least(expected_bytes, resident.size_bytes):
        return Judgement("process", moved_bytes=reading.ram_bytes, memory="host RAM")
    note = f"Its process holds {gib(reading.ram_bytes)} of host RAM so far; mapped weights come in as they are used."
    return Judgement("endpoint", notes=(note,))


def _judge_rise(
    reading: Reading,
    resident: ResidentModel,
    baseline: Mapping[str, int],
    expected_bytes: int | None,
    evicted_bytes: int,
) -> Judgement:
    least_bytes = _least(expected_bytes, resident.vram_bytes)
    held_bytes = sum((reading.process_bytes or {}).values())
    if reading.process_bytes and held_bytes >= least_bytes:
        return Judgement(
            "process", moved_bytes=held_bytes, gpu_bytes=reading.process_bytes, notes=_partly(resident, held_bytes)
        )
    rises = risen(baseline, reading.used)
    rise_bytes = sum(rises.values()) + evicted_bytes
    if not reading.process_bytes and rise_bytes >= least_bytes:
        return Judgement("gpu", moved_bytes=rise_bytes, gpu_bytes=rises, notes=_partly(resident, rise_bytes))
    moved_bytes = held_bytes if reading.process_bytes else rise_bytes
    if resident.vram_bytes == 0 and resident.size_bytes:
        sentence = f"{resident.name} was loaded into host RAM, not onto a GPU: {gib(moved_bytes)} of VRAM moved."
        return Judgement(code="on_cpu", sentence=sentence, is_final=True, moved_bytes=moved_bytes)
    about = f"about {gib(expected_bytes)}" if expected_bytes else "some"
    sentence = f"The endpoint lists {resident.name}, but VRAM rose by {gib(moved_bytes)} where {about} was expected."
    return Judgement(code="memory_did_not_move", sentence=sentence, moved_bytes=moved_bytes)


def judge_unload(
    reading: Reading,
    name: str,
    baseline: Mapping[str, int],
    process_bytes_before: Mapping[str, int] | None,
    expected_bytes: int | None,
    ram_bytes_before: int | None = None,
) -> Judgement:
    """Whether ``name`` has left.

    ``process_bytes_before`` is what its process held by GPU (nothing, where it had died) and ``ram_bytes_before`` in host
    RAM, both ``None`` where not known; ``expected_bytes`` is what it took.
    """
    resident = reading.observation.find(name)
    if resident is not None:
        is_stopping = resident.state is ModelState.STOPPING
        code = "stuck_stopping" if is_stopping else "still_loaded"
        how = "as stopping" if is_stopping else "as loaded"
        return Judgement(code=code, sentence=f"The unload of {name} was accepted, but it is still listed {how}.")
    if not usable_gpus(reading.sample) or not (expected_bytes or process_bytes_before):
        return _judge_freed_ram(reading, ram_bytes_before)
    before_bytes = sum((process_bytes_before or {}).values())
    if process_bytes_before is not None and reading.process_bytes is not None:
        held_bytes = sum(reading.process_bytes.values())
        fallen_bytes, by = before_bytes - held_bytes, "process"
        wanted_bytes = before_bytes
    else:
        fallen_bytes, by = sum(risen(reading.used, baseline).values()), "gpu"
        wanted_bytes = expected_bytes or before_bytes
    if fallen_bytes >= (GONE_SHARE if by == "process" else LEAST_SHARE) * wanted_bytes:
        return Judgement(by, moved_bytes=fallen_bytes)
    sentence = f"{name} is unloaded, but only {gib(fallen_bytes)} of about {gib(wanted_bytes)} of VRAM came back."
    return Judgement(code="memory_held", sentence=sentence, moved_bytes=fallen_bytes)


def _judge_freed_ram(reading: Reading, before_bytes: int | None) -> Judgement:
    freed_bytes = (before_bytes or 0) - (reading.ram_bytes or 0)
    if before_bytes and reading.ram_bytes is not None and freed_bytes >= GONE_SHARE * before_bytes:
        return Judgement("process", moved_bytes=freed_bytes, memory="host RAM")
    return Judgement("endpoint")


def risen(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """By how much each GPU rose; those that did not are left out."""
    rises = {uuid: used - before.get(uuid, used) for uuid, used in after.items()}
    return {uuid: rise for uuid, rise in rises.items() if rise > 0}


def _least(expected_bytes: int | None, claimed_bytes: int | None) -> int:
    """The least rise that confirms; any rise at all where nothing is known."""
    known = [size for size in (expected_bytes, claimed_bytes) if size]
    return max(1, int(LEAST_SHARE * min(known, default=0)))


def _partly(resident: ResidentModel, vram_bytes: int) -> tuple[str, ...]:
    claimed, size = resident.vram_bytes, resident.size_bytes
    if claimed is None or not size or claimed >= PARTLY_SHARE * size:
        return ()
    return (f"Partly in host RAM: {gib(size - claimed)} of {gib(size)}; {gib(vram_bytes)} are in VRAM.",)
