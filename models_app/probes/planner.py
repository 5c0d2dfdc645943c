"""Runs llama.cpp's own memory planner, ``llama-fit-params``, on a model file of this machine. It loads no weights."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PLANNER_NAME = "llama-fit-params"
DEADLINE_SECONDS = 10.0
MOST_OUTPUT_BYTES = 64 * 1024
_PASSED_ON = (
    *("PATH", "HOME", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
)
"""The environment that decides which libraries and GPUs a program sees; llama.cpp's own settings stay out."""


class PlannerFailed(Exception):
    """The planner gave no answer; the message says why."""


def planner_beside(pid: int) -> Path | None:
    """The planner that stands beside the program of a process; ``None`` where there is none or it may not be seen."""
    try:
        found = Path(psutil.Process(pid).exe()).with_name(PLANNER_NAME)
        return found if found.is_file() and os.access(found, os.X_OK) else None
    except (psutil.Error, OSError):
        return None


def run_planner(binary: Path, model: Path, arguments: Sequence[str], deadline_seconds: float = DEADLINE_SECONDS) -> str:
    """What the planner prints about ``model``. Raises ``PlannerFailed`` after the deadline and for every failure."""
    if not (model.is_absolute() and model.is_file()):
        raise PlannerFailed(f"{model} is no file of this machine.")
    command = [str(binary), "--model", str(model), *arguments, "--fit-print", "on"]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise PlannerFailed(f"{binary}: {error.strerror}") from error
    try:
        output = _output(process, time.monotonic() + deadline_seconds)
    finally:
        _end(process)
    if process.returncode:
        raise PlannerFailed(f"{binary.name} ended with exit code {process.returncode}.")
    return output.decode("utf-8", errors="replace")


def _output(process: subprocess.Popen[bytes], due: float) -> bytes:
    """All that it writes until it closes its output and ends."""
    source = process.stdout
    output = b""
    while source is not None:
        if not select.select([source], [], [], max(0.0, due - time.monotonic()))[0]:
            raise PlannerFailed("The planner took too long.")
        part = os.read(source.fileno(), MOST_OUTPUT_BYTES)
        output += part
        if len(output) > MOST_OUTPUT_BYTES:
            raise PlannerFailed("The planner wrote more than a plan.")
        if not part:
            break
    try:
        process.wait(max(0.0, due - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise PlannerFailed("The planner took too long.") from None
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it behind."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
