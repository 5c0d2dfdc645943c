"""A host's sample, and how its bytes were divided, as bytes and back: msgpack, by msgspec, for a thousand hosts report.

Unknown keys are ignored, so that rows of another version can still be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from models_app.probes.types import HostSample
from models_app.telemetry.division import Shares


@dataclass(frozen=True, slots=True)
class _Packed:
    sample: HostSample
    shares: Shares = field(default_factory=dict)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Packed)


def pack(sample: HostSample, shares: Shares | None = None) -> bytes:
    """The sample and the shares of every GPU."""
    return _ENCODER.encode(_Packed(sample, shares or {}))


def unpack(packed: bytes) -> tuple[HostSample, Shares]:
    """What ``pack`` wrote. Raises ``ValueError`` for anything else."""
    try:
        found = _DECODER.decode(packed)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    return found.sample, found.shares
