"""How long loads take: as measured by earlier operations, else by the size of the files."""

from __future__ import annotations

from models_app.catalog.models import Installation
from models_app.inventory.models import Endpoint
from models_app.operations.load_times import load_times

DISK_BYTES_A_SECOND = 1e9
"""A file that is read from a fast disk; from the page cache it takes a fraction."""
START_SECONDS = 1.0


class LoadTimes:
    """Seconds of a load by endpoint and model, from the rows once."""

    def __init__(self) -> None:
        measured = load_times()
        self._by_variant = {(each.host_id, each.variant_id): each.expected_seconds for each in measured if each.variant_id}
        self._by_name = {(each.host_id, each.model): each.expected_seconds for each in measured}
        self._hosts = dict(Endpoint.objects.values_list("pk", "host_id"))
        installed = Installation.objects.values_list("endpoint_id", "name", "variant_id")
        self._variants = {(endpoint_id, name): variant_id for endpoint_id, name, variant_id in installed}

    def seconds(self, endpoint_id: int, model: str, size_bytes: int) -> float:
        """What was measured on that host, cold where it was, else what reading ``size_bytes`` from a disk takes."""
        host_id, variant_id = self._hosts.get(endpoint_id), self._variants.get((endpoint_id, model))
        measured = self._by_variant.get((host_id or 0, variant_id or 0)) or self._by_name.get((host_id or 0, model))
        return round(measured or START_SECONDS + size_bytes / DISK_BYTES_A_SECOND, 1)
