"""One GPU that NVML has opened: its figures and its details, each read by a call that may hang alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models_app.probes.deadline import BoundedCall
from models_app.probes.gpu import LOST_CODES, nvml, read_gpu
from models_app.probes.gpu_detail import read_detail
from models_app.probes.types import GpuDetail, GpuSample, GpuState

DETAIL_SECONDS = 10.0
"""Between two readings of what changes slowly: it would double the driver calls of a sample."""
WEDGED_REASON = "A driver call on this GPU has not returned; the figures are the last known."


class OpenGpu:
    """A GPU with its handle. At most one thread is inside the driver for it."""

    def __init__(self, handle: Any, blank: GpuSample, last_known: GpuSample | None, deadline_seconds: float) -> None:
        self.last_known = last_known or blank
        self.has_failed = False
        self.reading = BoundedCall(lambda: read_gpu(handle, blank), f"nvml {blank.uuid}", deadline_seconds)
        self.detailing = BoundedCall(lambda: read_detail(handle), f"nvml detail {blank.uuid}", deadline_seconds)
        self._detail: GpuDetail | None = None
        self._detail_due = 0.0
        self._is_detail_begun = False

    @property
    def is_running(self) -> bool:
        """Whether a thread is inside the driver for it."""
        return self.reading.is_running or self.detailing.is_running

    def begin(self, now: float) -> None:
        """Start reading the figures, and from time to time the detail, in a thread of its own."""
        self.reading.begin()
        self._is_detail_begun = now >= self._detail_due
        if self._is_detail_begun:
            self._detail_due = now + DETAIL_SECONDS
            self.detailing.begin()

    def collect(self) -> GpuSample:
        """The sample begun last, or the last known figures with the state that explains them."""
        try:
            self.last_known = self.reading.result()
        except TimeoutError:
            return self.stale(GpuState.WEDGED, WEDGED_REASON)
        except nvml.NVMLError as error:
            return self.stale(GpuState.LOST if error.value in LOST_CODES else GpuState.ERROR, str(error))
        except Exception as error:
            return self.stale(GpuState.ERROR, f"{type(error).__name__}: {error}")
        self.has_failed = False
        self.last_known = replace(self.last_known, detail=self._collected_detail())
        return self.last_known

    def _collected_detail(self) -> GpuDetail | None:
        """The detail as it was read last. A call for it that hangs or fails costs the detail and nothing else."""
        if self._is_detail_begun:
            try:
                self._detail = self.detailing.result()
            except Exception:
                self._detail = None
        return self._detail

    def stale(self, state: GpuState, reason: str) -> GpuSample:
        """The last known figures under another state than OK."""
        self.has_failed = True
        return replace(self.last_known, state=state, reason=reason)
