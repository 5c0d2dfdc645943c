"""A host's newest sample, and what is known of its rows from one sample to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from models_app.inventory.models import Host, LoadedModel
from models_app.probes.types import GpuDetail, GpuSample, GpuState, HostSample
from models_app.telemetry.division import Shares
from models_app.telemetry.latest import Latest, is_stale
from models_app.telemetry.rings import Points, with_points
from models_app.telemetry.samples import pack


@dataclass(slots=True)
class Known:
    """What is known of one host's rows. ``recent`` is ``None`` until it has been read, with the sample that the row holds.

    Until ``watched_until``, in monotonic seconds, somebody looks at the host, and its row does not lag behind. ``shown`` is
    the same of what was shown before its row was written.
    """

    recent: Points | None = None
    boot_id: str = ""
    sequence: int = 0
    taken_at: datetime | None = None
    recent_written: float = 0.0
    written: float = 0.0
    described: object = None
    trusted_until: float = 0.0
    watched_until: float = 0.0
    shown: Known | None = None

    def is_news(self, sample: HostSample) -> bool:
        """By its time; within one boot also by its sequence, for a clock may be set back."""
        if self.taken_at is None or sample.taken_at > self.taken_at:
            return True
        return sample.boot_id == self.boot_id and sample.sequence > self.sequence

    def holds(self, sample: HostSample) -> bool:
        """Whether this is the newest sample."""
        return (self.boot_id, self.sequence) == (sample.boot_id, sample.sequence)

    def remember(self, sample: HostSample) -> None:
        """This is the newest sample now; its points are added to the rings in place."""
        self.recent = with_points(self.recent or {}, self.taken_at, sample)
        self.boot_id, self.sequence, self.taken_at = sample.boot_id, sample.sequence, sample.taken_at

    def rings(self) -> Points:
        """A copy of the rings, for the next point is added in place."""
        return {uuid: list(points) for uuid, points in (self.recent or {}).items()}


@dataclass(frozen=True, slots=True)
class Newest:
    """A host's sample, whose its bytes are, and the rows of its loaded models.

    ``details`` are those of GPUs, by UUID, that the sample leaves out because they were told before.
    """

    host: Host
    sample: HostSample
    shares: Shares
    models: Sequence[LoadedModel]
    known: Known = field(default_factory=Known)
    details: Mapping[str, GpuDetail] = field(default_factory=dict)

    def packed(self) -> bytes:
        """The sample with all its details, and the shares."""
        return pack(self.whole(), self.shares)

    def whole(self) -> HostSample:
        """The sample with all its details."""
        return replace(self.sample, gpus=tuple(map(self._detailed, self.sample.gpus))) if self.details else self.sample

    def latest(self) -> Latest:
        """The sample as it would be read back."""
        return Latest(self.host.pk, self.whole(), self.shares, self.known.rings(), is_stale(self.sample.taken_at))

    def _detailed(self, gpu: GpuSample) -> GpuSample:
        if gpu.detail is not None or gpu.state is not GpuState.OK or gpu.uuid not in self.details:
            return gpu
        return replace(gpu, detail=self.details[gpu.uuid])
