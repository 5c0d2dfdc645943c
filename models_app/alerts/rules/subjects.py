"""The names of what alerts are about."""

from __future__ import annotations

from models_app.alerts.rules.findings import Action, Page, Subject
from models_app.alerts.rules.fleet import EndpointFacts, GpuFacts, HostFacts, ModelFacts
from models_app.backends.protocol import Capability


def of_host(host: HostFacts) -> Subject:
    """A machine."""
    return Subject(f"host:{host.id}", host.name, host.id)


def of_gpu(host: HostFacts, gpu: GpuFacts) -> Subject:
    """A GPU, by its UUID."""
    return Subject(f"gpu:{gpu.uuid}", f"{host.name} · GPU {gpu.index}", host.id)


def of_endpoint(host: HostFacts, endpoint: EndpointFacts) -> Subject:
    """A server."""
    return Subject(f"endpoint:{endpoint.id}", endpoint.name, host.id)


def of_model(host: HostFacts, endpoint: EndpointFacts, name: str) -> Subject:
    """A model on an endpoint, whether it is in memory now or was."""
    return Subject(f"model:{endpoint.id}:{name}", f"{name} on {endpoint.name}", host.id)


def unload(model: ModelFacts, words: str = "") -> Action | None:
    """The operation that takes a model out of memory; ``None`` where its endpoint cannot do that."""
    if not model.can_unload:
        return None
    fields = {"kind": "unload", "endpoint": str(model.endpoint_id), "model": model.name}
    return Action(words or f"Unload {model.name}", Page.OPERATIONS, fields)


def restart(host: HostFacts, endpoint: EndpointFacts) -> Action | None:
    """The operation that restarts a server with its largest model; ``None`` where Berth cannot restart it."""
    held = [model for model in host.models if model.endpoint_id == endpoint.id and model.operation_id is None]
    largest = max(held, key=lambda model: model.vram_bytes, default=None)
    if largest is None or Capability.RESTART not in endpoint.capabilities:
        return None
    fields = {"kind": "restart", "endpoint": str(endpoint.id), "model": largest.name}
    return Action(f"Restart {largest.name}", Page.OPERATIONS, fields)
