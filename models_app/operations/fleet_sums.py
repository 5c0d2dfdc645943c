"""The sums of a large fleet, from the newest samples alone: without making a view of every host."""

from __future__ import annotations

from collections import defaultdict

from django.conf import settings

from models_app.inventory.models import Gpu, Host, LoadedModel
from models_app.operations.fleet_view import Sums
from models_app.operations.memory_bar import Promise
from models_app.operations.reservations import Reservation
from models_app.telemetry.latest import latest_by_host


def sums_of_all() -> Sums:
    """As ``fleet().sums``; what processes do not explain is what the attribution of each sample left over."""
    promises = _promises()
    used_bytes = total_bytes = available_bytes = unexplained_bytes = 0
    for latest in latest_by_host(with_recent=False).values():
        for gpu in latest.sample.gpus:
            held = sum(promise.held_bytes(gpu.used_bytes) for promise in promises.get(gpu.uuid, ()))
            used_bytes, total_bytes = used_bytes + gpu.used_bytes, total_bytes + gpu.total_bytes
            available_bytes += max(0, gpu.free_bytes - held - int(settings.HEADROOM_FRACTION * gpu.total_bytes))
        unexplained_bytes += sum(share.unexplained_bytes for share in latest.shares.values())
    return Sums(
        hosts=Host.objects.count(),
        gpus=Gpu.objects.filter(present=True).count(),
        models=LoadedModel.objects.current().count(),
        used_bytes=used_bytes,
        total_bytes=total_bytes,
        available_bytes=available_bytes,
        unexplained_bytes=unexplained_bytes,
    )


def _promises() -> dict[str, list[Promise]]:
    promises: dict[str, list[Promise]] = defaultdict(list)
    rows = Reservation.objects.values_list("gpu__uuid", "reservation_bytes", "baseline_bytes")
    for uuid, reservation_bytes, baseline_bytes in rows:
        promises[uuid].append(Promise("", 0, reservation_bytes, baseline_bytes))
    return promises
