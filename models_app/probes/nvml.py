"""The GPUs that the NVIDIA driver shows. Handles are opened once; a driver that hangs costs one deadline, once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from models_app.probes.deadline import BoundedCall
from models_app.probes.gpu import nvml
from models_app.probes.open_gpu import WEDGED_REASON, OpenGpu
from models_app.probes.types import GpuSample, GpuState

_PROBLEMS = {
    nvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "The NVIDIA driver's library (libnvidia-ml.so.1) was not found: this machine has no NVIDIA driver, "
        "or the container was started without its GPUs."
    ),
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "The NVIDIA driver is installed but not loaded: load its kernel module (modprobe nvidia) or reboot."
    ),
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "The NVIDIA driver's library and its kernel module differ in version: "
        "restart this program after a driver update, and reboot if that does not help."
    ),
    nvml.NVML_ERROR_NO_PERMISSION: "This user may not open the NVIDIA devices (/dev/nvidia*).",
}
_NO_ANSWER = "The NVIDIA driver does not answer; any figures shown are the last known."
_NO_GPU = "The NVIDIA driver is loaded but shows no GPU."


@dataclass(frozen=True, slots=True)
class NvmlSweep:
    """All GPUs at one moment. ``problem`` says in a sentence why GPUs are missing; empty when none is."""

    gpus: tuple[GpuSample, ...] = ()
    driver_version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Session:
    """One initialisation of NVML: the GPUs it opened, of ``count`` that the driver shows."""

    driver_version: str = ""
    count: int = 0
    gpus: tuple[OpenGpu, ...] = ()
    problem: str = ""


class NvmlGpus:
    """Sweeps all GPUs. One caller at a time.

    A failed start is repeated at most every ``retry_seconds``. NVML is initialised again when the number of GPUs has
    changed, when the driver has forgotten us, and, at that same rate, while every GPU fails.
    """

    def __init__(
        self,
        deadline_seconds: float = 0.8,
        retry_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._retry_at = clock()
        self._is_initialized = False
        self._session = _Session()
        self._refreshing = BoundedCall(self._refresh_session, "nvml driver", deadline_seconds)

    def sweep(self) -> NvmlSweep:
        """Every GPU's figures within two deadlines at most: one for the driver, one for all GPUs together."""
        self._refreshing.begin()
        try:
            self._refreshing.result()
        except TimeoutError:
            return self._unanswered_sweep(_NO_ANSWER)
        except Exception as error:
            return self._unanswered_sweep(f"NVML could not be read: {type(error).__name__}: {error}")
        session = self._session
        for gpu in session.gpus:
            gpu.begin(self._clock())
        return NvmlSweep(tuple(gpu.collect() for gpu in session.gpus), session.driver_version, session.problem)

    def close(self) -> None:
        """Release the driver, unless a call into it is stuck. A later sweep opens it again."""
        if self._is_stuck():
            return
        closing = BoundedCall(self._shut_down, "nvml close", self._deadline_seconds)
        closing.begin()
        with contextlib.suppress(TimeoutError):
            closing.result()
        self._session = _Session()
        self._retry_at = self._clock()

    def _unanswered_sweep(self, problem: str) -> NvmlSweep:
        session = self._session
        gpus = tuple(gpu.stale(GpuState.WEDGED, WEDGED_REASON) for gpu in session.gpus)
        return NvmlSweep(gpus, session.driver_version, problem)

    def _is_stuck(self) -> bool:
        return self._refreshing.is_running or any(gpu.is_running for gpu in self._session.gpus)

    def _refresh_session(self) -> None:
        # NVML must not be shut down under a call that is still inside it.
        if any(gpu.is_running for gpu in self._session.gpus):
            return
        if self._is_session_stale() or (self._is_session_failing() and self._clock() >= self._retry_at):
            self._retry_at = self._clock() + self._retry_seconds
            self._session = self._open_session()

    def _is_session_stale(self) -> bool:
        """Whether the driver was restarted or shows another number of GPUs; one driver call."""
        if not self._is_initialized:
            return False
        try:
            return bool(nvml.nvmlDeviceGetCount() != self._session.count)
        except nvml.NVMLError:
            return True

    def _is_session_failing(self) -> bool:
        if not self._is_initialized:
            return True
        return bool(self._session.gpus) and all(gpu.has_failed for gpu in self._session.gpus)

    def _open_session(self) -> _Session:
        try:
            self._shut_down()
            nvml.nvmlInit()
            self._is_initialized = True
            return self._open_gpus(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            self._shut_down()
            return _Session(problem=_PROBLEMS.get(error.value, f"NVML could not be started: {error}."))

    def _open_gpus(self, count: int) -> _Session:
        last_known = {gpu.last_known.uuid: gpu.last_known for gpu in self._session.gpus}
        gpus: list[OpenGpu] = []
        problems = [] if count else [_NO_GPU]
        for index in range(count):
            try:
                gpus.append(self._open_gpu(index, last_known))
            except nvml.NVMLError as error:
                problems.append(f"GPU {index} cannot be opened: {error}.")
        return _Session(nvml.nvmlSystemGetDriverVersion(), count, tuple(gpus), " ".join(problems))

    def _open_gpu(self, index: int, last_known: dict[str, GpuSample]) -> OpenGpu:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        blank = GpuSample(nvml.nvmlDeviceGetUUID(handle), index, nvml.nvmlDeviceGetName(handle))
        return OpenGpu(handle, blank, last_known.get(blank.uuid), self._deadline_seconds)

    def _shut_down(self) -> None:
        """Give back our one initialisation; NVML counts them, so others in this process keep theirs."""
        if self._is_initialized:
            self._is_initialized = False
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
