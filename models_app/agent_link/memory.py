"""What is kept of a host while its agent is connected, so that a sample like the one before costs little."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.probes.types import GpuDetail, HostSample
from models_app.telemetry.attribution import shares_of
from models_app.telemetry.division import Shares
from models_app.telemetry.known import Known


@dataclass(slots=True)
class Memory:
    """``own`` are GPUs that no other host has, as of ``looked``; ``rows_until`` is how long the rows are believed.

    Both in monotonic seconds. ``details`` are the latest of each GPU, by its UUID.
    """

    known: Known = field(default_factory=Known)
    own: frozenset[str] = frozenset()
    looked: float = 0.0
    problem: str | None = None
    endpoints: Sequence[Endpoint] = ()
    models: Sequence[LoadedModel] = ()
    rows_until: float = 0.0
    details: dict[str, GpuDetail] = field(default_factory=dict)
    _divided: tuple[HostSample, Sequence[LoadedModel], Shares] | None = None

    def is_own(self, uuids: Set[str], since: float) -> bool:
        """Whether these GPUs were found to be the host's own, not before that moment."""
        return self.looked > since and uuids <= self.own

    def use(self, endpoints: Sequence[Endpoint], models: Sequence[LoadedModel], until: float) -> None:
        """Divide by these rows from now on."""
        self.endpoints, self.models, self.rows_until = endpoints, models, until

    def shares(self, host: Host, sample: HostSample) -> Shares:
        """Whose the sample's bytes are. The same object as before where nothing that matters has changed.

        Two threads may ask at a time, while one of them changes the rows: so what was found is kept with its rows.
        """
        divided, models = self._divided, self.models
        if divided is None or divided[1] is not models or not _divides_alike(divided[0], sample):
            divided = self._divided = sample, models, shares_of(host, sample, models, self.endpoints)
        return divided[2]

    def hear(self, sample: HostSample) -> None:
        """Keep the details of GPUs: agents repeat them only now and then."""
        for gpu in sample.gpus:
            if gpu.detail is not None:
                self.details[gpu.uuid] = gpu.detail


def _divides_alike(before: HostSample, after: HostSample) -> bool:
    if len(before.gpus) != len(after.gpus) or before.servers != after.servers:
        return False
    return all(
        gpu.uuid == other.uuid and gpu.used_bytes == other.used_bytes and gpu.processes == other.processes
        for gpu, other in zip(before.gpus, after.gpus, strict=True)
    )
