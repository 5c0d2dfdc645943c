"""What a server of a kind can hold, and a fleet with what a what-if supposes."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings

from models_app.agent.supervision.backend import MODE
from models_app.plans.changes import IMAGINARY, Changes
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.solver.types import DeviceSets

OLLAMA_MODELS_A_GPU, ROUTER_MODELS = 3, 4
"""How many models Ollama (for each GPU) and a router hold where nobody set another limit; neither tells its own."""


def model_limit(mode: str, gpus: int, loaded: int) -> int | None:
    """The default of the server's program, or what it has been seen to hold."""
    defaults = {"ollama": OLLAMA_MODELS_A_GPU * max(1, gpus), "router": ROUTER_MODELS, MODE: 1}
    return max(defaults[mode], loaded) if mode in defaults else None


def supposed(fleet: Fleet, changes: Changes) -> Fleet:
    """The fleet with imaginary GPUs and another headroom; removed ones are gone from the start."""
    pools, servers = list(fleet.pools), list(fleet.servers)
    for number, added in enumerate(changes.added_gpus, 1):
        name = f"{IMAGINARY}{number}"
        index = max((pool.index for pool in pools if pool.host == added.host and pool.is_gpu), default=-1) + 1
        headroom = int(settings.HEADROOM_FRACTION * added.bytes)
        pools.append(
            Pool(name, added.host, "vram", f"GPU {index}", added.name, added.bytes, headroom_bytes=headroom, index=index)
        )
        servers = [_seeing(server, name) if server.host == added.host else server for server in servers]
    if changes.headroom_percent is not None:
        share = changes.headroom_percent / 100
        pools = [replace(pool, headroom_bytes=int(share * pool.total_bytes)) for pool in pools]
    return replace(fleet, pools=tuple(pools), servers=tuple(servers))


def _seeing(server: Server, gpu: str) -> Server:
    gpus = (*server.gpus, gpu)
    chooses = "gpu" in server.options and len(gpus) > 1
    sets = DeviceSets.ONE_OR_WHOLE if chooses else DeviceSets.WHOLE
    return replace(server, gpus=gpus, sets=sets, max_models=model_limit(server.mode, len(gpus), server.max_models or 0))
