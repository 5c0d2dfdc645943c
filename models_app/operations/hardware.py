"""Which recommended configuration is about which machine, by the memory that it reports."""

from __future__ import annotations

from collections.abc import Iterable

from models_app.catalog.tiers import tiers
from models_app.estimator.tiers import Tier, TierKind, tier_for
from models_app.inventory.models import Host
from models_app.probes.types import PoolKind
from models_app.telemetry.latest import latest_by_host


def tiers_of(hosts: Iterable[Host]) -> dict[int, Tier]:
    """The row of the table for each host (with its GPUs prefetched) by its id; machines of which nothing is known lack."""
    hosts = list(hosts)
    table, found = tiers(), {}
    memory = {host.pk: _gpu_memory(host) for host in hosts}
    newest = latest_by_host({pk for pk, known in memory.items() if known is None})
    for host in hosts:
        sample = newest[host.pk].sample if host.pk in newest else None
        ram = (sample.ram.total_bytes, TierKind.CPU_ONLY) if sample and sample.ram and not sample.gpus else None
        known = memory[host.pk] or ram
        tier = tier_for(*known, table) if known else None
        if tier:
            found[host.pk] = tier
    return found


def named_tiers() -> list[tuple[str, Tier]]:
    """The row for each machine of which enough is known, by the machine's name."""
    hosts = list(Host.objects.prefetch_related("gpus"))
    found = tiers_of(hosts)
    return [(host.name, found[host.pk]) for host in hosts if host.pk in found]


def _gpu_memory(host: Host) -> tuple[int, TierKind] | None:
    """The VRAM of all its GPUs together, or what they share with the host; ``None`` where it has no GPU."""
    gpus = [gpu for gpu in host.gpus.all() if gpu.present]
    if not gpus:
        return None
    shared = [gpu.total_bytes for gpu in gpus if gpu.pool == PoolKind.UNIFIED]
    return (max(shared), TierKind.UNIFIED) if shared else (sum(gpu.total_bytes for gpu in gpus), TierKind.VRAM)
