"""Where samples come from: one probe a host, in this process.

The panel's own host has a local probe, opened at its first use. Simulated hosts register theirs, and the
processes of their endpoints. Hosts with agents report by themselves, and are asked only for what cannot wait. A host with
neither has no telemetry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from asgiref.sync import sync_to_async

from models_app.inventory.models import Host
from models_app.probes.host import LocalProbe
from models_app.probes.types import HostSample, Probe

Pids = Callable[[], Iterable[int]]
ModelPids = Callable[[], Mapping[str, Iterable[int]]]

Finder = Callable[[Host], Probe | None]

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sample")
_lock = threading.Lock()
_probes: dict[int, Probe] = {}
_pids: dict[int, tuple[Pids, ModelPids | None]] = {}
_local: LocalProbe | None = None
_find: Finder = lambda _: None  # noqa: E731 - the one that finds nothing


def register(host: Host, probe: Probe) -> None:
    """Sample ``host`` by this probe from now on."""
    with _lock:
        _probes[host.pk] = probe


def unregister(host: Host) -> None:
    """Forget the probe of a host that was registered, if any."""
    with _lock:
        _probes.pop(host.pk, None)


def registered_hosts() -> list[int]:
    """The ids of the hosts that were registered."""
    with _lock:
        return list(_probes)


def probe_of(host: Host) -> Probe | None:
    """The probe of a host in this process, or ``None``."""
    global _local
    with _lock:
        if host.pk in _probes or not host.is_local:
            return _probes.get(host.pk)
        _local = _local or LocalProbe()
        return _local


def find_probes_by(finder: Finder) -> None:
    """Where a host has no probe in this process, ask this: it may know a way to sample the host at once."""
    global _find
    _find = finder


def sample_now(host: Host) -> HostSample | None:
    """A fresh sample within a few seconds at most; ``None`` for a host that nothing here can sample."""
    probe = probe_of(host) or _find(host)
    return probe.sample() if probe else None


def begin_sample(host: Host) -> Callable[[], HostSample | None]:
    """Begin a fresh sample beside what the caller does meanwhile; calling the result waits for it.

    Where no probe in this process is asked, it begins with that call: the way to it may read rows of the caller's own
    transaction.
    """
    probe = probe_of(host)
    return partial(sample_now, host) if probe is None else _threads.submit(probe.sample).result


async def sample_now_async(host: Host) -> HostSample | None:
    """The same from an event loop, in a thread of its own: a slow driver holds nothing else up."""
    return await sync_to_async(sample_now, thread_sensitive=False)(host)


def register_pids(endpoint_id: int, pids: Pids, model_pids: ModelPids | None = None) -> None:
    """Take an endpoint's processes from these callables: all of them, and by model name where that is known."""
    with _lock:
        _pids[endpoint_id] = (pids, model_pids)


def unregister_pids(endpoint_id: int) -> None:
    """Forget what was registered for an endpoint."""
    with _lock:
        _pids.pop(endpoint_id, None)


def registered_pids(endpoint_id: int) -> tuple[Pids, ModelPids | None] | None:
    """What was registered for an endpoint, or ``None``."""
    with _lock:
        return _pids.get(endpoint_id)


def close() -> None:
    """Release the driver. A later sample opens it again."""
    global _local
    with _lock:
        if _local is not None:
            _local.close()
            _local = None
