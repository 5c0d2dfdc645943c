"""Which recommended configuration is about which machine, by the memory that it reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models_app.catalog.tiers import tiers
from models_app.estimator.tiers import Tier, TierKind, tier_for
from models_app.inventory.models import Host
from models_app.probes.types import PoolKind
from models_app.telemetry.latest import latest_by_host


def tiers_of(hosts: Iterable[Host]) -> dict[int, Tier]:
    """The row of the table for each host (with its GPUs prefetched) by its id; machines of which nothing is known lack."""
    return tiers_by_pools(
        {host.pk: [(gpu.pool, gpu.total_bytes) for gpu in host.gpus.all() if gpu.present] for host in hosts}
    )


def tiers_by_pools(pools: Mapping[int, Sequence[tuple[str, int]]]) -> dict[int, Tier]:
    """As ``tiers_of``, by hosts' ids; ``pools`` has the kind and the total bytes of each GPU that is present."""
    table, found = tiers(), {}
    newest = latest_by_host(pk for pk, gpus in pools.items() if not gpus)
    for pk, gpus in pools.items():
        sample = newest[pk].sample if pk in newest else None
        ram = (sample.ram.total_bytes, TierKind.CPU_ONLY) if sample and sample.ram and not sample.gpus else None
        known = _gpu_memory(gpus) or ram
        tier = tier_for(*known, table) if known else None
        if tier:
            found[pk] = tier
    return found


def named_tiers() -> list[tuple[str, Tier]]:
    """The row for each machine of which enough is known, by the machine's name."""
    hosts = list(Host.objects.prefetch_related("gpus"))
    found = tiers_of(hosts)
    return [(host.name, found[host.pk]) for host in hosts if host.pk in found]


def _gpu_memory(gpus: Sequence[tuple[str, int]]) -> tuple[int, TierKind] | None:
    """The VRAM of all GPUs together, or what they share with the host; ``None`` where there is no GPU."""
    if not gpus:
        return None
    shared = [total_bytes for pool, total_bytes in gpus if pool == PoolKind.UNIFIED]
    return (max(shared), TierKind.UNIFIED) if shared else (sum(total_bytes for _, total_bytes in gpus), TierKind.VRAM)
