"""How to serve a set of models on one machine: each one's estimate held against the memory that the machine can give.

What Berth's endpoints have loaded counts as free, for the question is what to keep there; what others hold does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Q

from models_app.backends.protocol import Capability, LoadOptions
from models_app.catalog.models import Installation, Variant
from models_app.estimator.strategy import SWAP_SECONDS, StrategyAdvice, advise_strategy
from models_app.estimator.types import Grade
from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.operations.facts import foreign_subject, installed_subject
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon
from models_app.operations.reloads import Reload, reload_of
from models_app.operations.rooms import Room, rooms
from models_app.operations.subject import Subject
from models_app.probes.types import HostSample

DEFAULT_CONTEXT_LENGTH = 8192
MOST_MODELS = 20


@dataclass(frozen=True, slots=True)
class Question:
    """Which models, where, and what matters. ``gpu`` is a UUID, empty for every GPU of the host.

    ``tolerated_seconds`` is how long the first answer after a change of model may take. ``isolated``: each model is to
    have a server of its own.
    """

    variants: Sequence[Variant]
    host: Host
    gpu: str = ""
    context_length: int = DEFAULT_CONTEXT_LENGTH
    tolerated_seconds: float = SWAP_SECONDS
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the models. ``endpoint`` is where it would be loaded, under ``installed_as`` (empty: to be pulled first).

    ``needed_bytes`` ± ``error_bytes`` is what it takes of one GPU; ``None`` where nobody knows, and ``why`` says it.
    """

    variant: Variant
    endpoint: Endpoint | None
    installed_as: str
    context_length: int
    needed_bytes: int | None
    error_bytes: int
    grade: Grade
    reload: Reload
    why: str = ""

    @property
    def reserve_bytes(self) -> int:
        """What is set aside for it: the estimate with its band, unless that is a rule of thumb's."""
        return (self.needed_bytes or 0) + (0 if self.grade is Grade.QUICK else self.error_bytes)


class Role(StrEnum):
    """A model's part in the advised strategy."""

    STAYS = "stays"
    SWAPS = "swaps"
    TOO_LARGE = "too_large"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Serving:
    """The answer. ``capacity_bytes`` is what the devices give once nothing of Berth's is loaded, beside the headroom;
    ``free_bytes`` what they give now. ``advice`` is about the ``candidates`` whose need is ``known``, by their places among
    those; ``None`` where the memory is not measured or no need is known."""

    question: Question
    devices: tuple[Room, ...]
    capacity_bytes: int
    free_bytes: int
    candidates: tuple[Candidate, ...]
    advice: StrategyAdvice | None

    @property
    def known(self) -> tuple[Candidate, ...]:
        """The models whose need is known."""
        return tuple(each for each in self.candidates if each.needed_bytes is not None)

    def role_of(self, candidate: Candidate) -> Role:
        """The part of one of the candidates."""
        if self.advice is None or candidate.needed_bytes is None:
            return Role.UNKNOWN
        place = self.known.index(candidate)
        if place in self.advice.too_large:
            return Role.TOO_LARGE
        return Role.STAYS if place in self.advice.chosen.stay else Role.SWAPS


def serving(question: Question, sample: HostSample | None) -> Serving:
    """How to serve these models there. Raises ``RequestRefused`` (``invalid_option``) for an impossible context."""
    everything = list(LoadedModel.objects.filter(endpoint__host=question.host))
    emptied = _asked(question, rooms(sample, everything)) if sample else []
    now = _asked(question, rooms(sample, [])) if sample else []
    places = _places(question)
    candidates = tuple(_candidate(question, variant, places, emptied) for variant in question.variants)
    return Serving(
        question=question,
        devices=tuple(emptied),
        capacity_bytes=_available(emptied),
        free_bytes=_available(now),
        candidates=candidates,
        advice=_advice(question, emptied, [each for each in candidates if each.needed_bytes is not None]),
    )


def _asked(question: Question, devices: Sequence[Room]) -> list[Room]:
    return [room for room in devices if question.gpu in ("", room.uuid)]


def _available(devices: Sequence[Room]) -> int:
    return sum(max(0, room.available_bytes) for room in devices)


def _places(question: Question) -> tuple[dict[int, Installation], Endpoint | None]:
    """Where each variant is installed on the host, and an endpoint there that could pull what is not."""
    rows = Installation.objects.filter(endpoint__host=question.host, variant__in=question.variants)
    able = [row for row in rows.select_related("endpoint__host") if Capability.LOAD in row.endpoint.capabilities]
    endpoints = Endpoint.objects.filter(host=question.host).filter(~Q(state=Endpoint.State.UNKNOWN)).select_related("host")
    pullable = next((row for row in endpoints if Capability.PULL in row.capabilities), None)
    return {row.variant_id: row for row in reversed(able)}, pullable


def _candidate(
    question: Question,
    variant: Variant,
    places: tuple[dict[int, Installation], Endpoint | None],
    devices: Sequence[Room],
) -> Candidate:
    installed, elsewhere = places[0].get(variant.pk), places[1]
    trained = variant.training_context_length or question.context_length
    context_length = min(question.context_length, trained)
    endpoint, name = (installed.endpoint, installed.name) if installed else (elsewhere, "")
    subject = _subject(variant, endpoint, name, context_length)
    reckoning = _reckoned(subject, devices) if subject else None
    size_bytes = (installed.size_bytes if installed else 0) or variant.file_size_bytes
    return Candidate(
        variant=variant,
        endpoint=endpoint,
        installed_as=name,
        context_length=context_length,
        needed_bytes=reckoning.needed_bytes if reckoning else None,
        error_bytes=reckoning.error_bytes if reckoning else 0,
        grade=reckoning.grade if reckoning else Grade.QUICK,
        reload=reload_of(endpoint, name, size_bytes) if endpoint else Reload(None, False),
        why=_why(reckoning),
    )


def _subject(variant: Variant, endpoint: Endpoint | None, name: str, context_length: int) -> Subject | None:
    if endpoint is None:
        return None
    options = LoadOptions(context_length=context_length)
    return installed_subject(endpoint, name, options) if name else foreign_subject(endpoint, variant, options)


def _reckoned(subject: Subject, devices: Sequence[Room]) -> Reckoning:
    """On the roomiest device alone; nothing is known of a machine that is not measured."""
    roomiest = max(devices, key=lambda room: room.available_bytes, default=None)
    if roomiest is None:
        return reckon(subject, None)
    return reckon(subject, [roomiest] if roomiest.uuid else [])


def _why(reckoning: Reckoning | None) -> str:
    if reckoning is None:
        return "No server on this machine could load it."
    return "" if reckoning.needed_bytes is not None else " ".join(reckoning.unknown) or "Its size is not known."


def _advice(question: Question, devices: Sequence[Room], known: Sequence[Candidate]) -> StrategyAdvice | None:
    if not known or not devices:
        return None
    slowest = max((each.reload.seconds for each in known if each.reload.seconds is not None), default=SWAP_SECONDS)
    return advise_strategy(
        [max(0, room.available_bytes) for room in devices],
        [each.reserve_bytes for each in known],
        question.tolerated_seconds,
        slowest,
        isolated=question.isolated,
    )
