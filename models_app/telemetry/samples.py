"""A host's sample, and how its bytes were divided, as JSON and back.

Unknown keys are ignored, so that rows of another version can still be read.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuProcess, GpuSample, GpuState, HostSample, PoolKind, RamSample
from models_app.telemetry.attribution import By, GpuShares, ModelShare, Shares

T = TypeVar("T")


def encode(sample: HostSample) -> dict[str, Any]:
    """The sample as plain JSON values; the time is ISO 8601 text."""
    return asdict(sample) | {"taken_at": sample.taken_at.isoformat()}


def decode(payload: dict[str, Any]) -> HostSample:
    """The sample that ``encode`` wrote. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
    ram = payload.get("ram")
    given = payload | {
        "taken_at": datetime.fromisoformat(payload["taken_at"]),
        "gpus": tuple(_gpu(gpu) for gpu in payload["gpus"]),
        "ram": None if ram is None else _made(RamSample, ram),
    }
    return _made(HostSample, given)


def encode_shares(shares: Shares) -> list[dict[str, Any]]:
    """The shares of every GPU as plain JSON values."""
    return [asdict(share) for share in shares.values()]


def decode_shares(payload: list[dict[str, Any]]) -> Shares:
    """What ``encode_shares`` wrote. Raises as ``decode`` does."""
    return {share["uuid"]: _shares(share) for share in payload}


def _shares(payload: dict[str, Any]) -> GpuShares:
    models = {int(key): ModelShare(share["bytes"], By(share["by"])) for key, share in payload["models"].items()}
    return _made(GpuShares, payload | {"models": models, "coverage": Coverage(payload["coverage"])})


def _gpu(payload: dict[str, Any]) -> GpuSample:
    processes = payload["processes"]
    given = payload | {
        "state": GpuState(payload["state"]),
        "pool": PoolKind(payload["pool"]),
        "processes": None if processes is None else tuple(_made(GpuProcess, process) for process in processes),
    }
    return _made(GpuSample, given)


def _made(kind: type[T], payload: dict[str, Any]) -> T:
    names = _names(kind)  # type: ignore[arg-type]
    return kind(**{name: value for name, value in payload.items() if name in names})


@cache
def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))
