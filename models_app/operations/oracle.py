"""Asks llama.cpp's planner about a model that lies on the panel's own host, where its program stands there too.

The answers are remembered for each file, settings and program, refusals too: a page must not wait twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as panel

from models_app.backends.protocol import BackendKind
from models_app.estimator.oracle import (
    NoPlan,
    PlannedDevice,
    asked_settings,
    oracle_estimate,
    parse_plan,
    planner_arguments,
)
from models_app.estimator.types import Estimate, LoadSettings
from models_app.inventory.models import Endpoint
from models_app.probes.planner import PlannerFailed, planner_beside, run_planner
from models_app.probes.servers import server_process

NEVER = "off"
PLANS_KEPT = 512
KEPT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Planner:
    """The planner's program and the model's file, with what tells their versions apart."""

    binary: Path
    model: Path
    gpu_count: int
    version: tuple[int, ...] = ()


def planner_for(endpoint: Endpoint, launch: Mapping[str, Any], gpu_count: int) -> Planner | None:
    """The planner to ask about a model that a llama-server of this host starts so; ``None`` where nobody can be asked."""
    path = str(launch.get("model", ""))
    if endpoint.kind != BackendKind.LLAMA_SERVER or not endpoint.host.is_local or panel.LLAMA_FIT_PARAMS == NEVER:
        return None
    if not (path.startswith("/") and path.lower().endswith(".gguf")):
        return None
    binary = Path(panel.LLAMA_FIT_PARAMS) if panel.LLAMA_FIT_PARAMS else _beside(endpoint)
    try:
        return None if binary is None else Planner(binary, Path(path), gpu_count, _version(binary, Path(path)))
    except OSError:
        return None


def planned_estimate(
    planner: Planner,
    settings: LoadSettings,
    shares: Sequence[float],
    estimate: Callable[[LoadSettings], Estimate],
) -> Estimate:
    """The oracle's estimate. ``estimate`` is the header's. Raises ``NoPlan`` and ``EstimateError``."""
    plan = _plan(planner, planner_arguments(settings, shares), int(time.time()) // KEPT_SECONDS)
    if isinstance(plan, str):
        raise NoPlan(plan)
    return oracle_estimate(estimate(settings), estimate(asked_settings(settings)), plan)


@lru_cache(maxsize=PLANS_KEPT)
def _plan(planner: Planner, arguments: tuple[str, ...], period: int) -> tuple[PlannedDevice, ...] | str:  # noqa: ARG001
    """The plan, or why there is none; asked again in the next ``period``."""
    try:
        return parse_plan(run_planner(planner.binary, planner.model, arguments))
    except (PlannerFailed, NoPlan) as reason:
        return str(reason)


def _beside(endpoint: Endpoint) -> Path | None:
    """The planner beside the program of the server, whose process each sample asks for too: no search of its own."""
    port = urlsplit(endpoint.url).port
    pid = server_process(port, endpoint.kind) if port else None
    return planner_beside(pid) if pid else None


def _version(*files: Path) -> tuple[int, ...]:
    """Size and time of change of each. Raises ``OSError``."""
    return tuple(figure for file in files for status in (file.stat(),) for figure in (status.st_size, status.st_mtime_ns))
