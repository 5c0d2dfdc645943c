"""How long loads take: as measured by earlier operations, else by the size of the files."""

from __future__ import annotations

from statistics import median

from models_app.operations.models import OperationStep

STEPS_READ = 2000
DISK_BYTES_A_SECOND = 1e9
"""A file that is read from a fast disk; from the page cache it takes a fraction."""
START_SECONDS = 1.0


class LoadTimes:
    """Seconds of a load by endpoint and model, from the rows once."""

    def __init__(self) -> None:
        done = OperationStep.objects.filter(
            action=OperationStep.Action.LOAD,
            state=OperationStep.State.DONE,
            started_at__isnull=False,
            finished_at__isnull=False,
        )
        rows = done.order_by("-id").values_list("operation__endpoint_id", "model_name", "started_at", "finished_at")
        taken: dict[tuple[int, str], list[float]] = {}
        for endpoint_id, model, started_at, finished_at in rows[:STEPS_READ]:
            if started_at is not None and finished_at is not None:
                taken.setdefault((endpoint_id, model), []).append((finished_at - started_at).total_seconds())
        self._measured = {key: median(seconds) for key, seconds in taken.items()}

    def seconds(self, endpoint_id: int, model: str, size_bytes: int) -> float:
        """The median of what was measured there, else what reading ``size_bytes`` from a disk takes."""
        measured = self._measured.get((endpoint_id, model))
        return round(START_SECONDS + size_bytes / DISK_BYTES_A_SECOND if measured is None else measured, 1)
