"""What models' own processes hold resident in host RAM, as a server's host sees them."""

from __future__ import annotations

from collections.abc import Collection

from models_app.agent.supervision.backend import MODE
from models_app.backends.protocol import Observation
from models_app.inventory.models import Endpoint
from models_app.probes.types import HostSample, ServerProcesses
from models_app.telemetry.processes import servers_own, workers_by_model


def model_ram_bytes(endpoint: Endpoint, name: str, observation: Observation, sample: HostSample | None) -> int | None:
    """Bytes, mapped weights included; 0 once the model's processes have gone, ``None`` where they are not known.

    A managed llama-server tells itself; otherwise the processes of the one that listens on the endpoint's port do.
    """
    model = observation.find(name)
    if model is not None and model.host_ram_bytes is not None:
        return model.host_ram_bytes
    if observation.server is not None and endpoint.mode == MODE:
        return 0 if observation.server.process_id is None else None
    found = None if sample is None else servers_own(endpoint, sample)
    if found is None:
        return None
    listed = {*(each.name for each in observation.resident), name}
    return _ram_by_model(endpoint, list(listed), found).get(name)


def without_process(endpoint: Endpoint, names: Collection[str], sample: HostSample) -> frozenset[str]:
    """Of the models that an endpoint lists, those whose processes have gone: it has fewer of them than models."""
    found = servers_own(endpoint, sample)
    if found is None or endpoint.mode == "single" or len(found.workers) - 1 >= len(names):
        return frozenset()
    return frozenset(name for name, held_bytes in _ram_by_model(endpoint, list(names), found).items() if not held_bytes)


def _ram_by_model(endpoint: Endpoint, names: list[str], found: ServerProcesses) -> dict[str, int]:
    """Models of which nothing tells the process are left out."""
    if any(worker.ram_bytes is None for worker in found.workers):
        return {}
    held = {worker.pid: worker.ram_bytes or 0 for worker in found.workers}
    by_model = workers_by_model(endpoint, names, found)
    is_all_known = not held.keys() - {found.server_pid}.union(*by_model.values())
    return {name: sum(held[pid] for pid in by_model.get(name, ())) for name in names if name in by_model or is_all_known}
