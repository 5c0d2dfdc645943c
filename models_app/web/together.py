"""How to serve several models together, for the screen: the question as a form, and the answer with its next steps."""

from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from models_app.catalog.models import Installation, Variant
from models_app.estimator.strategy import Strategy, StrategyOption
from models_app.inventory.models import Gpu, Host
from models_app.operations.serving import DEFAULT_CONTEXT_LENGTH, MOST_MODELS, Candidate, Question, Role, Serving
from models_app.web.colours import COLOURS
from models_app.web.option_fields import pick
from models_app.web.templatetags.berth import in_bytes, short_name, span

MOST_LISTED = 300
TITLES = {
    Strategy.CONCURRENT: "All at once",
    Strategy.HYBRID: "Some stay, the others take turns",
    Strategy.HOT_SWAP: "One at a time, swapped on demand",
    Strategy.CONTAINERS: "A server and a container each",
}
PATIENCE = (
    ("0.5", "Under a second"),
    ("5", "5 seconds"),
    ("15", "15 seconds"),
    ("60", "A minute"),
    ("600", "It does not matter"),
)


class TogetherForm(forms.Form):
    """Which models, where, and what matters. What is missing has a default, so that a link may name the models alone."""

    variant = forms.MultipleChoiceField(label="Models", required=False, widget=forms.CheckboxSelectMultiple)
    where = forms.ChoiceField(label="Where")
    context_length = forms.IntegerField(
        label="Context, tokens of each", min_value=1, max_value=10_000_000, widget=forms.NumberInput(attrs={"step": "any"})
    )
    patience = forms.ChoiceField(label="Longest wait for a model's first answer", choices=PATIENCE)
    isolated = forms.BooleanField(label="Each in a server of its own, so that a crash stops only one", required=False)

    def __init__(self, asked: QueryDict) -> None:
        data = asked.copy()
        self._places = _places()
        for name, value in (
            ("where", next(iter(self._places), "")),
            ("context_length", DEFAULT_CONTEXT_LENGTH),
            ("patience", "15"),
        ):
            if not data.get(name):
                data[name] = str(value)
        super().__init__(data)
        self.fields["where"] = pick("Where", [(key, words) for key, (_, _, words) in self._places.items()])
        rows = Variant.objects.filter(pk__in=Installation.objects.values("variant")).order_by("name", "pk")
        self.variants = {str(row.pk): row for row in rows.select_related("header", "model")[:MOST_LISTED]}
        choices = [(key, f"{short_name(row.name)} · {row.quantization or '?'}") for key, row in self.variants.items()]
        self.fields["variant"].choices = choices  # type: ignore[attr-defined]

    def clean_variant(self) -> list[Variant]:
        """The models themselves."""
        chosen = [self.variants[key] for key in dict.fromkeys(self.cleaned_data["variant"])]
        if len(chosen) > MOST_MODELS:
            raise forms.ValidationError(f"At most {MOST_MODELS} models at once.")
        return chosen

    def clean_where(self) -> tuple[Host, str]:
        """The host, and the UUID of one GPU where only that counts."""
        host, uuid, _ = self._places.get(self.cleaned_data["where"], (None, "", ""))
        if host is None:
            raise forms.ValidationError("Choose a machine.")
        return host, uuid

    def question(self) -> Question | None:
        """What is asked; ``None`` before any model is chosen, or where a field is at fault."""
        if not self.is_valid() or not self.cleaned_data["variant"]:
            return None
        chosen = self.cleaned_data
        host, gpu = chosen["where"]
        patience, isolated = float(chosen["patience"]), chosen["isolated"]
        return Question(chosen["variant"], host, gpu, chosen["context_length"], patience, isolated)


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


def _places() -> dict[str, tuple[Host, str, str]]:
    """What a form calls a machine or one of its GPUs: the host, the GPU's UUID, and the words."""
    found: dict[str, tuple[Host, str, str]] = {}
    for host in Host.objects.prefetch_related("gpus"):
        gpus: list[Gpu] = [gpu for gpu in host.gpus.all() if gpu.present]
        words = f"{len(gpus)} GPUs" if len(gpus) > 1 else gpus[0].name if gpus else "no GPU: host RAM"
        found[str(host.pk)] = (host, "", f"{host.name} · {words}")
        if len(gpus) > 1:
            found |= {
                f"{host.pk}:{gpu.pk}": (host, gpu.uuid, f"{host.name} · GPU {gpu.index} · {gpu.name}") for gpu in gpus
            }
    return found
