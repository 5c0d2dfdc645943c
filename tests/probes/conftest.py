"""NVML as the tests of GPUs ask it, by a clock of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models_app.probes.nvml import NvmlGpus
from tests.fixtures.nvml import NvmlStub


class Clock:
    """A clock that moves when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gpus(nvml_stub: NvmlStub, clock: Clock) -> Iterator[NvmlGpus]:
    gpus = NvmlGpus(deadline_seconds=30, clock=clock)
    yield gpus
    nvml_stub.set(count=0)
    gpus.close()
