"""What a model's own processes hold resident in host RAM, on the panel's own host."""

from __future__ import annotations

from models_app.agent.supervision.backend import MODE
from models_app.backends.protocol import Observation
from models_app.inventory.managed import listening_port
from models_app.inventory.models import Endpoint
from models_app.probes.commands import command_line, flag
from models_app.probes.listeners import listener_process, process_family, server_name
from models_app.probes.memory import resident_bytes


def model_ram_bytes(endpoint: Endpoint, name: str, observation: Observation) -> int | None:
    """Bytes, mapped weights included; 0 once the model's processes have gone, ``None`` where they are not known.

    A managed llama-server tells itself; otherwise the processes of the one that listens on the endpoint's port do.
    """
    model = observation.find(name)
    if model is not None and model.host_ram_bytes is not None:
        return model.host_ram_bytes
    if observation.server is not None and endpoint.mode == MODE:
        return 0 if observation.server.process_id is None else None
    if not endpoint.host.is_local:
        return None
    pids = _processes(endpoint, name)
    return None if pids is None else resident_bytes(pids)


def _processes(endpoint: Endpoint, name: str) -> frozenset[int] | None:
    server = listener_process(listening_port(endpoint))
    if server is None or not server_name(server):
        return None
    family = process_family(server)
    if endpoint.mode == "single":
        return family
    workers = family - {server}
    named = frozenset(pid for pid in workers if flag(command_line(pid, None), "--alias", "-a") == name)
    is_known = named or not workers or endpoint.mode == "router"
    return named if is_known else (workers if len(workers) == 1 else None)
