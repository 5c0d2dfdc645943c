"""Which GPUs a load may touch, as far as its options or its server's settings say."""

from __future__ import annotations

from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.protocol import LoadOptions
from models_app.inventory.managed import is_managed, spec_of
from models_app.inventory.models import Endpoint


def allowed_gpus(endpoint: Endpoint, options: LoadOptions) -> frozenset[str] | None:
    """UUIDs; ``None`` where the server decides among all GPUs of its host."""
    if options.gpu is not None:
        return frozenset({options.gpu})
    chosen = spec_of(endpoint).gpus if is_managed(endpoint) else ()
    return frozenset(chosen) or None


def uses_gpus(endpoint: Endpoint, options: LoadOptions) -> bool:
    """False for a load with 0 GPU layers."""
    layers = options.gpu_layers
    if layers is None and is_managed(endpoint):
        spec = spec_of(endpoint)
        layers = spec.gpu_layers if isinstance(spec, ServerSpec) else None
    return layers != 0
