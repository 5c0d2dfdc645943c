"""This machine: who it is, and one probe over all that it can see of itself."""

from __future__ import annotations

import itertools
import socket
import threading
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil

from models_app.probes.amd import AmdGpus
from models_app.probes.disks import ModelDisks
from models_app.probes.memory import sample_ram
from models_app.probes.nvml import NvmlGpus
from models_app.probes.types import HostSample, RamSample

_sequence = itertools.count(1)
"""Shared by all probes of the process, for a boot id names the process."""


@cache
def boot_id() -> str:
    """The kernel's boot id and this process's start in milliseconds: a sequence restarts only under another id."""
    started_ms = round(psutil.Process().create_time() * 1000)
    return f"{_kernel_boot_id()}-{started_ms}"


def _kernel_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(round(psutil.boot_time()))


def hostname() -> str:
    """The name that this machine gives itself."""
    return socket.gethostname()


class LocalProbe:
    """The ``Probe`` of this machine: its GPUs, where there are any, RAM and disks. Safe from several threads."""

    def __init__(self, gpus: NvmlGpus | None = None, amd: AmdGpus | None = None, disks: ModelDisks | None = None) -> None:
        self._gpus = gpus or NvmlGpus()
        self._amd = amd or AmdGpus()
        self._disks = disks or ModelDisks()
        self._lock = threading.Lock()

    def sample(self) -> HostSample:
        """A fresh sweep; callers at the same time take turns. Never raises: a failure is a state in the sample."""
        with self._lock:
            sweep = self._gpus.sweep()
            others = self._amd.sweep(len(sweep.gpus))
            return HostSample(
                boot_id=boot_id(),
                sequence=next(_sequence),
                taken_at=datetime.now(UTC),
                gpus=(*sweep.gpus, *others),
                ram=_ram_or_none(),
                disks=self._disks.sample(),
                driver_version=sweep.driver_version,
                nvml_problem="" if others and not sweep.gpus else sweep.problem,
            )

    def close(self) -> None:
        """Release the driver. A later sample opens it again."""
        with self._lock:
            self._gpus.close()


def _ram_or_none() -> RamSample | None:
    try:
        return sample_ram()
    except (OSError, psutil.Error):
        return None
