"""What Ollama chooses where nobody says otherwise."""

from __future__ import annotations

from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.devices import GIB
from models_app.simulation.hardware import SimulatedHost


def default_context(host: SimulatedHost) -> int:
    """Tokens of a context, by the VRAM of the machine."""
    total_bytes = sum(gpu.total_bytes for gpu in host.gpus)
    if total_bytes >= 47 * GIB:
        return 262_144
    return 32_768 if total_bytes >= 23 * GIB else 4096


def default_batch(model: SimulatedModel, context: int, parallel: int) -> int:
    """Tokens of a batch, by the context of all slots."""
    if model.is_embedding:
        return min(2048, context)
    total = context * parallel
    return 2048 if total > 32_768 else 1024 if total > 4096 else 512
