"""The sums of a large fleet, from the stored samples as they are: without making a view of every host."""

from __future__ import annotations

from collections import defaultdict

from django.conf import settings

from models_app.inventory.models import Gpu, Host, LoadedModel
from models_app.operations.fleet_view import Sums
from models_app.operations.memory_bar import Promise
from models_app.operations.models import Reservation
from models_app.telemetry.models import LatestSample


def sums_of_all() -> Sums:
    """As ``fleet().sums``; what processes do not explain is what the attribution of each sample left over."""
    promises = _promises()
    used_bytes = total_bytes = available_bytes = unexplained_bytes = 0
    for payload in LatestSample.objects.values_list("payload", flat=True):
        for gpu in payload.get("gpus", ()):
            used, total = gpu.get("used_bytes", 0), gpu.get("total_bytes", 0)
            held = sum(promise.held_bytes(used) for promise in promises.get(gpu["uuid"], ()))
            used_bytes, total_bytes = used_bytes + used, total_bytes + total
            available_bytes += max(0, gpu.get("free_bytes", 0) - held - int(settings.HEADROOM_FRACTION * total))
        unexplained_bytes += sum(share["unexplained_bytes"] for share in payload.get("shares", ()))
    return Sums(
        hosts=Host.objects.count(),
        gpus=Gpu.objects.filter(present=True).count(),
        models=LoadedModel.objects.count(),
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
