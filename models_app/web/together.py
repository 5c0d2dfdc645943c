"""How to serve several models together, for the screen: the answer with its next steps."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.http import urlencode

from models_app.estimator.strategy import Strategy, StrategyOption
from models_app.operations.serving import Candidate, Role, Serving
from models_app.web.colours import COLOURS
from models_app.web.templatetags.berth import in_bytes, short_name, span

TITLES = {
    Strategy.CONCURRENT: "All at once",
    Strategy.HYBRID: "Some stay, the others take turns",
    Strategy.HOT_SWAP: "One at a time, swapped on demand",
    Strategy.CONTAINERS: "A server and a container each",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One model in the answer. ``link`` fills in the form that loads it so, or that pulls it; ``colour`` is its class."""

    candidate: Candidate
    role: Role
    colour: str
    link: str

    @property
    def reload_words(self) -> str:
        """What its return costs."""
        seconds = self.candidate.reload.seconds
        if seconds is None:
            return "–"
        return span(seconds) if self.candidate.reload.is_measured else f"about {span(seconds)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy in the comparison."""

    option: StrategyOption
    title: str
    verdict: str
    is_advised: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the bar: a model that stays, or the largest of those that take turns."""

    name: str
    colour: str
    kind: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TogetherPage:
    """The answer for the screen; ``scale_bytes`` is the length of the bar."""

    serving: Serving
    title: str
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    parts: tuple[Part, ...]
    scale_bytes: int

    @property
    def has_guesses(self) -> bool:
        """Whether the time of a load is a rule of thumb for any of them."""
        return any(not line.candidate.reload.is_measured for line in self.lines)


def together_page(serving: Serving) -> TogetherPage:
    """The answer with its comparison, its bar and its links."""
    advice = serving.advice
    lines = tuple(_line(serving, place, candidate) for place, candidate in enumerate(serving.candidates))
    if advice is None:
        return TogetherPage(serving, "", lines, (), (), 0)
    parts = _parts(serving, lines)
    scale_bytes = max(serving.capacity_bytes, sum(part.size_bytes for part in parts), 1)
    rows = tuple(_row(serving, option) for option in advice.options)
    return TogetherPage(serving, TITLES[advice.strategy], lines, rows, parts, scale_bytes)


def _line(serving: Serving, place: int, candidate: Candidate) -> Line:
    role = serving.role_of(candidate)
    return Line(candidate, role, f"m{place % COLOURS + 1}", _link(candidate, role))


def _link(candidate: Candidate, role: Role) -> str:
    if candidate.endpoint is None:
        return ""
    if not candidate.installed_as:
        wanted = {"model": candidate.variant.name, "endpoint": str(candidate.endpoint.pk)}
        return f"{reverse('model_pull')}?{urlencode(wanted)}"
    asked = {
        "model": candidate.installed_as,
        "endpoint": str(candidate.endpoint.pk),
        "context_length": str(candidate.context_length),
        **({"keep_alive": "forever"} if role is Role.STAYS else {}),
    }
    return f"{reverse('load')}?{urlencode(asked)}"


def _row(serving: Serving, option: StrategyOption) -> Row:
    advised = serving.advice is not None and option.strategy is serving.advice.strategy
    missing_bytes = option.peak_bytes - serving.capacity_bytes
    if option.fits:
        verdict = f"fits, {in_bytes(-missing_bytes)} to spare"
    elif option.strategy is Strategy.HYBRID:
        verdict = "none can stay beside the largest" if option.swap else "nothing would take turns"
    else:
        verdict = (
            f"does not fit, {in_bytes(missing_bytes)} missing" if missing_bytes > 0 else "does not fit one beside another"
        )
    return Row(option, TITLES[option.strategy], verdict, advised)


def _parts(serving: Serving, lines: tuple[Line, ...]) -> tuple[Part, ...]:
    known = [line for line in lines if line.candidate.needed_bytes is not None]
    shown = [(line, "weights") for line in known if line.role is Role.STAYS]
    turns = [line for line in known if line.role in (Role.SWAPS, Role.TOO_LARGE)]
    if turns:
        shown.append((max(turns, key=lambda line: line.candidate.reserve_bytes), "pending"))
    parts, offset_bytes = [], 0
    for line, kind in shown:
        size_bytes = line.candidate.reserve_bytes
        parts.append(Part(short_name(line.candidate.variant.name), line.colour, kind, offset_bytes, size_bytes))
        offset_bytes += size_bytes
    return tuple(parts)
