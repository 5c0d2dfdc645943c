"""A host's sample, and how its bytes were divided, as JSON and back.

Unknown keys are ignored, so that rows of another version can still be read.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from models_app.agent import codec
from models_app.probes.attribution import Coverage
from models_app.probes.types import HostSample
from models_app.telemetry.attribution import By, GpuShares, ModelShare, Shares


def encode(sample: HostSample) -> dict[str, Any]:
    """The sample as plain JSON values; the time is ISO 8601 text. What has its default is left out."""
    encoded: dict[str, Any] = codec.encode(sample)
    return encoded


def decode(payload: dict[str, Any]) -> HostSample:
    """The sample that ``encode`` wrote. Raises ``ValueError`` for anything else."""
    return codec.made(HostSample, payload)


def encode_shares(shares: Shares) -> list[dict[str, Any]]:
    """The shares of every GPU as plain JSON values."""
    return [
        {
            "uuid": share.uuid,
            "used_bytes": share.used_bytes,
            "models": {key: {"bytes": model.bytes, "by": model.by} for key, model in share.models.items()},
            "others": share.others,
            "unexplained_bytes": share.unexplained_bytes,
            "coverage": share.coverage,
        }
        for share in shares.values()
    ]


def decode_shares(payload: list[dict[str, Any]]) -> Shares:
    """What ``encode_shares`` wrote. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    return {share["uuid"]: _shares(share) for share in payload}


def _shares(payload: dict[str, Any]) -> GpuShares:
    models = {int(key): ModelShare(share["bytes"], By(share["by"])) for key, share in payload["models"].items()}
    known = {name: value for name, value in payload.items() if name in _NAMES}
    return GpuShares(**known | {"models": models, "coverage": Coverage(payload["coverage"])})


_NAMES = frozenset(field.name for field in fields(GpuShares))
