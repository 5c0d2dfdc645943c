"""What a load takes, term by term and device by device, and on which evidence that stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_app.backends.protocol import LoadOptions
from models_app.estimator.types import DeviceEstimate, Grade
from models_app.operations.facts import installed_subject
from models_app.operations.reckoning import gpu_names
from models_app.operations.verdicts import FitPreview
from models_app.web.load_form import LoadForm

_TERMS = {
    "weights_bytes": "weights",
    "kv_bytes": "KV cache",
    "recurrent_bytes": "recurrent state",
    "compute_bytes": "compute buffers",
    "overhead_bytes": "driver context",
}
_QUICK_OVERHEAD = "buffers and driver context"
_EVIDENCE = {
    Grade.QUICK: "A rule of thumb from the size and the shape",
    Grade.HEADER: "From the file's header",
    Grade.ORACLE: "From the server's own planner",
    Grade.LEARNED: "From the file's header",
}
LEARNED_NOTE = "Learned from"
"""How a note begins that says what the evidence says already."""


@dataclass(frozen=True, slots=True)
class Term:
    """One row of the reckoning: bytes on each device, ``None`` where unknown."""

    name: str
    sizes: tuple[int | None, ...]


def evidence(form: LoadForm, preview: FitPreview, options: LoadOptions) -> str:
    """On what the estimate stands; empty where there is none."""
    if preview.needed_bytes is None:
        return ""
    words = _EVIDENCE[preview.grade]
    if preview.grade is not Grade.LEARNED or form.endpoint is None:
        return words
    past = installed_subject(form.endpoint, form.model, options).past.get(gpu_names(preview.chosen), [])
    same = [each for each in past if each.context_length == preview.context_length]
    count = len(same or past)
    return f"{words} and {count} load{'' if count == 1 else 's'} here{'' if same else ' with another context'}"


def terms_of(preview: FitPreview) -> tuple[tuple[str, ...], tuple[Term, ...]]:
    """The devices, and each term on each of them; nothing where not even the weights are known."""
    devices = [room.terms for room in preview.chosen if room.terms]
    if devices:
        return tuple(room.name for room in preview.chosen), _device_terms(preview, devices)
    if preview.weights_bytes is None:
        return (), ()
    known = {
        "weights": preview.weights_bytes,
        "KV cache": preview.kv_bytes,
        "compute buffers": preview.compute_bytes or None,
        "driver context" if preview.compute_bytes else _QUICK_OVERHEAD: preview.overhead_bytes - preview.compute_bytes,
    }
    return ("",), tuple(Term(name, (size,)) for name, size in known.items() if size is not None)


def _device_terms(preview: FitPreview, devices: Sequence[DeviceEstimate]) -> tuple[Term, ...]:
    names = _TERMS | ({} if preview.compute_bytes else {"overhead_bytes": _QUICK_OVERHEAD})
    terms = [Term(name, tuple(getattr(device, field) for device in devices)) for field, name in names.items()]
    return tuple(term for term in terms if any(term.sizes))
