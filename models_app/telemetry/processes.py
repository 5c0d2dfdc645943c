"""Which processes belong to an endpoint, and which of them serve which model.

The process that listens on the endpoint's port tells, and the command lines of its children: a router names the model
(``--alias``), Ollama names the file (``--model``), which is found by its size. On the panel's own host they are looked up;
an agent reports those of its own with every sample. Simulated hosts register what they know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from models_app.agent.supervision.backend import MODE
from models_app.backends.protocol import Observation
from models_app.catalog.models import Installation
from models_app.inventory.managed import is_managed, listening_port
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.inventory.routes import agent_endpoint
from models_app.probes.families import process_family
from models_app.probes.servers import Served, server_processes
from models_app.probes.types import GpuProcess, HostSample, ServerProcesses, Worker
from models_app.telemetry.sources import ModelPids, Pids, registered_pids

FILE_TOLERANCE_BYTES = 16 * 1024**2
"""An installed model's size also counts its template and licence beside the weights."""


@dataclass(frozen=True, slots=True)
class EndpointProcesses:
    """The processes of an endpoint that hold VRAM, and those known to serve one model and nothing else."""

    pids: frozenset[int]
    by_model: Mapping[str, frozenset[int]] = field(default_factory=dict)
    server: int | None = None

    @property
    def unassigned(self) -> frozenset[int]:
        """Processes of which nobody knows the model; the server itself is none, whatever its driver context holds."""
        return self.pids.difference({self.server}, *self.by_model.values())


def processes_of(
    endpoint: Endpoint, names: Iterable[str], sample: HostSample, observation: Observation | None = None
) -> EndpointProcesses | None:
    """The endpoint's processes in this sample, where ``names`` are the models it lists; ``None`` where nothing tells.

    Reads rows and the process table. ``observation`` is what the endpoint says now, where that is newer than the rows.
    """
    shown = {process.pid: process for gpu in sample.gpus for process in gpu.processes or ()}
    if endpoint.mode == MODE and is_managed(endpoint):
        return _of_managed(endpoint, shown, observation)
    registered = registered_pids(endpoint.pk)
    if registered is not None:
        return _from_registry(*registered, list(names), shown)
    found = servers_own(endpoint, sample)
    if found is None:
        return None
    workers = [worker for worker in found.workers if worker.pid in shown]
    by_model = workers_by_model(endpoint, list(names), replace(found, workers=tuple(workers)))
    return EndpointProcesses(frozenset(worker.pid for worker in workers), by_model, found.server_pid)


def servers_own(endpoint: Endpoint, sample: HostSample) -> ServerProcesses | None:
    """A server's processes as the agent reported them, or as they are on the panel's own host; ``None`` where not known."""
    name = agent_endpoint(endpoint.url)
    if name is not None:
        return next((each for each in sample.servers if each.endpoint == name), None)
    if not endpoint.host.is_local:
        return None
    return server_processes(Served("", listening_port(endpoint), endpoint.kind), sample.gpus)


def _of_managed(endpoint: Endpoint, shown: Mapping[int, GpuProcess], observation: Observation | None) -> EndpointProcesses:
    """A server that Berth starts is known by its pid, and with it all that it has started."""
    told = observation.server if observation else None
    pid = endpoint.managed.process_id if told is None else told.process_id
    family = process_family(pid) if pid and endpoint.host.is_local else frozenset()
    children = {process.pid for process in shown.values() if pid and pid in (process.pid, process.parent_pid)}
    pids = (family | children) & shown.keys()
    return EndpointProcesses(pids, {endpoint.managed.spec["name"]: pids})


def loaded_names(endpoint: Endpoint) -> list[str]:
    """The models that the rows list on an endpoint."""
    return list(LoadedModel.objects.filter(endpoint=endpoint).order_by("name").values_list("name", flat=True))


def _from_registry(
    pids: Pids, model_pids: ModelPids | None, names: list[str], shown: Mapping[int, GpuProcess]
) -> EndpointProcesses:
    family = frozenset(pids()) & shown.keys()
    if model_pids is not None:
        by_model = {name: frozenset(found) & shown.keys() for name, found in model_pids().items()}
        return EndpointProcesses(family, by_model)
    return EndpointProcesses(family, _only_one(names, family))


def workers_by_model(endpoint: Endpoint, names: list[str], found: ServerProcesses) -> dict[str, frozenset[int]]:
    """Which of these processes serve which of ``names``, by the mode of the server; others are left out."""
    if endpoint.mode == "single":
        return dict.fromkeys(names, frozenset(worker.pid for worker in found.workers))
    workers = [worker for worker in found.workers if worker.pid != found.server_pid]
    by_alias = {name: frozenset(worker.pid for worker in workers if worker.alias == name) for name in names}
    named = {name: pids for name, pids in by_alias.items() if pids}
    if named or endpoint.mode == "router":
        return named
    return _only_one(names, frozenset(worker.pid for worker in workers)) or _by_file_size(endpoint, names, workers)


def _only_one(names: list[str], pids: frozenset[int]) -> dict[str, frozenset[int]]:
    """One model and one process belong together. A second process may be a model that is still loading."""
    return {names[0]: pids} if len(names) == 1 and len(pids) == 1 else {}


def _by_file_size(endpoint: Endpoint, names: list[str], workers: Iterable[Worker]) -> dict[str, frozenset[int]]:
    """Models and processes that fit no other by the size of the file which the process was started with."""
    installed = Installation.objects.filter(endpoint_id=endpoint.pk, name__in=names).values_list("name", "size_bytes")
    pairs = [
        (name, worker.pid)
        for name, size_bytes in installed
        for worker in workers
        if worker.file_bytes is not None and abs(size_bytes - worker.file_bytes) <= FILE_TOLERANCE_BYTES
    ]
    return {
        name: frozenset({pid})
        for name, pid in pairs
        if sum(name == other or pid == other_pid for other, other_pid in pairs) == 1
    }
