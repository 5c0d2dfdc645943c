"""A simulated machine writes its samples as a real agent encodes them, and answers what a panel asks."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pytest

from models_app.agent import codec
from models_app.agent.messages import Samples, batch, unpack
from models_app.backends.errors import NotFound, OutOfMemory
from models_app.backends.protocol import LoadOptions
from models_app.probes.types import GpuSample, GpuState, HostSample
from models_app.simulation.agents.backend import SimulatedRouter
from models_app.simulation.agents.machine import MODELS, Machine

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def sample(machine: Machine, sequence: int = 1) -> HostSample:
    [item] = unpack(batch([machine.write("boot", sequence, NOON)]), Samples).items
    assert isinstance(item, HostSample)
    return item


def test_what_is_written_is_what_the_codec_knows() -> None:
    machine = Machine("a", 8)
    machine.lose(3)
    written = codec.loads(machine.write("boot", 7, NOON))
    assert written.keys() <= {field.name for field in fields(HostSample)}
    assert {name for gpu in written["gpus"] for name in gpu} <= {field.name for field in fields(GpuSample)}
    assert (sample(machine, 7).boot_id, sample(machine, 7).sequence, sample(machine).taken_at) == ("boot", 7, NOON)


def test_the_bytes_of_each_gpu_add_up_and_its_processes_hold_them() -> None:
    for gpu in sample(Machine("a", 8)).gpus:
        assert gpu.used_bytes + gpu.free_bytes + gpu.driver_reserved_bytes == gpu.total_bytes
        assert sum(process.used_bytes or 0 for process in gpu.processes or ()) == gpu.used_bytes


def test_a_seed_gives_the_same_machine_and_another_seed_another() -> None:
    def uuids(seed: str) -> list[str]:
        return [gpu.uuid for gpu in sample(Machine(seed, 4)).gpus]

    assert uuids("a") == uuids("a") != uuids("b")


def test_a_lost_gpu_is_not_counted_until_it_recovers() -> None:
    machine = Machine("a", 2)
    lost = sample(machine).gpus[1].uuid
    machine.lose(1)
    assert sample(machine).gpus[1].state is GpuState.LOST
    machine.recover()
    sample(machine)
    assert (machine.sampled[lost], sum(machine.sampled.values())) == (2, 5)


async def test_a_loaded_model_shows_in_the_sample_and_at_the_router() -> None:
    machine = Machine("a", 2)
    router = SimulatedRouter(machine)
    for name in MODELS:
        await router.unload(name)
    assert not any(gpu.used_bytes for gpu in sample(machine).gpus)
    async for _ in router.load("bge-m3", LoadOptions()):
        pass
    assert [model.name for model in (await router.observe()).resident] == ["bge-m3"]
    assert sample(machine).servers[0].workers[0].alias == "bge-m3"


async def test_what_is_not_there_or_does_not_fit_is_refused() -> None:
    router = SimulatedRouter(Machine("a", 0))
    with pytest.raises(NotFound):
        await anext(router.load("no such model", LoadOptions()))
    with pytest.raises(OutOfMemory):
        await anext(router.load("bge-m3", LoadOptions()))
