"""The fleet as rules see it, in values: hosts with their GPUs, servers and models. Bytes are ints, times are UTC.

They are the rules' own, and fewer than what pages show: a thousand hosts are looked at every five seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from models_app.probes.types import GpuState, PoolKind

SERVER_PROCESSES = frozenset({"ollama", "ollama_llama_server", "llama-server"})


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """A GPU. Where it ``is_measured`` its figures are of now.

    ``idle_server_bytes`` are held by processes of model servers for none of their models, ``unexplained_bytes`` by nobody.
    """

    uuid: str
    index: int
    name: str
    pool: PoolKind
    state: GpuState
    reason: str
    is_measured: bool
    total_bytes: int
    driver_reserved_bytes: int
    used_bytes: int
    free_bytes: int
    unexplained_bytes: int
    idle_server_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """A server, and how it answered last; ``state`` and ``message`` are for people. Nobody entered a ``discovered`` one."""

    id: int
    name: str
    kind: str
    url: str
    version: str
    is_online: bool
    state: str
    code: str
    message: str
    hint: str
    capabilities: tuple[str, ...]
    load_options: tuple[str, ...]
    discovered: bool = False
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model in memory. ``gpu_bytes`` is by GPU's UUID, ``cpu_bytes`` runs on the CPU instead.

    ``kv_bytes`` is its KV cache, where part of the model lies on the CPU; ``has_lost_process`` says that no process of its
    server is there for that part. ``loaded_by`` is empty for another client.
    """

    id: int
    name: str
    endpoint_id: int
    state: str
    context_length: int | None
    gpu_bytes: Mapping[str, int]
    kv_bytes: int
    cpu_bytes: int
    size_bytes: int | None
    attributed_by: str
    expires_at: datetime | None
    kept_forever: bool
    pinned: bool
    loaded_by: str
    can_unload: bool
    can_set_keep_alive: bool
    operation_id: int | None
    """The active operation that touches it."""
    has_lost_process: bool = False

    @property
    def vram_bytes(self) -> int:
        """Bytes on all GPUs together."""
        return sum(self.gpu_bytes.values())

    @property
    def main_gpu(self) -> str:
        """The UUID of the GPU that holds most of it, empty where none is known."""
        return max(self.gpu_bytes, key=self.gpu_bytes.__getitem__, default="")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A machine; ``is_stale`` says that its newest sample is old."""

    id: int
    name: str
    gpus: tuple[GpuFacts, ...]
    endpoints: tuple[EndpointFacts, ...]
    models: tuple[ModelFacts, ...]
    sampled_at: datetime | None
    is_stale: bool

    def models_on(self, gpu: GpuFacts) -> list[ModelFacts]:
        """Those that lie on the GPU for the most part."""
        return [model for model in self.models if model.main_gpu == gpu.uuid]
