"""How a step or a whole operation can end, as values and as the exceptions that a runner raises to itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from models_app.backends.errors import BackendError
from models_app.backends.protocol import Observation
from models_app.probes.types import HostSample


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step that is done. ``used`` are the used bytes by the GPU's UUID afterwards, ``gpu_bytes`` those of a loaded model.

    ``verified_by`` is ``process``, ``gpu`` or ``endpoint``, or empty where nothing was verified. ``moved_bytes`` is what
    rose or fell, ``None`` where that is not known. ``sample`` is the one that verified it. ``skipped`` says why there was
    nothing to do, ``notes`` what people should know besides, ``tokens_per_second`` how fast a model wrote.
    """

    verified_by: str = ""
    used: Mapping[str, int] = field(default_factory=dict)
    gpu_bytes: Mapping[str, int] = field(default_factory=dict)
    moved_bytes: int | None = None
    observation: Observation | None = None
    observed_at: datetime | None = None
    sample: HostSample | None = None
    tokens_per_second: float | None = None
    notes: tuple[str, ...] = ()
    skipped: str = ""


class Failure(Exception):
    """A step, and with it the operation, has failed: a stable ``code`` and a sentence with the figures.

    ``retryable``: the same may work later. ``is_verdict``: the endpoint did what it was asked, by its own word, but the
    measurement does not bear it out.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False, is_verdict: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.is_verdict = is_verdict

    @classmethod
    def of(cls, error: BackendError) -> Failure:
        """The failure that an endpoint's error is."""
        return cls(error.code, error.words, retryable=error.retryable)


class Cancelled(Exception):
    """Somebody asked for the operation to be cancelled."""


class LeaseLost(Exception):
    """Another runner owns the operation now; this one must touch nothing more."""


class Outdated(Exception):
    """The sample is older than the end of another operation: a new one is needed."""


class Waiting(Exception):
    """Another operation is at work on a GPU that this one needs."""

    def __init__(self, operation_id: int, gpu_name: str) -> None:
        super().__init__(f"waiting for operation {operation_id} on {gpu_name}")
        self.operation_id = operation_id
