"""What the history page shows without any script: whose bytes, the figures over time as a table, and where to get all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.urls import reverse

from models_app.catalog.models import Installation
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.operations.fleet_models import hue
from models_app.telemetry.history.query import MOST_POINTS, History, Series, history, model_history
from models_app.telemetry.history.series import Key, Kind
from models_app.web.colours import COLOURS
from models_app.web.templatetags.berth import gib

ROWS = 24
FINE_POINTS = 360
"""Of six hours they are minutes: near enough to tell whether all there is lies within the last one."""
NOTHING = "–"
MOST_CHOICES = 300
RANGES = {
    "1h": ("1 h", timedelta(hours=1)),
    "6h": ("6 h", timedelta(hours=6)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 d", timedelta(days=7)),
    "30d": ("30 d", timedelta(days=30)),
    "1y": ("1 y", timedelta(days=365)),
}
DEFAULT_RANGE = "6h"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the page is about: a GPU, or a model on an endpoint."""

    title: str
    about: str
    host: Host
    query: dict[str, str]
    gpu: Gpu | None = None
    endpoint: Endpoint | None = None
    model: str = ""

    def history(self, since: datetime, until: datetime, points: int) -> History:
        """Its past."""
        if self.gpu:
            return history([self.gpu], since, until, points)
        assert self.endpoint  # noqa: S101 - one of the two is there
        return model_history(self.endpoint, self.model, since, until, points)


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, mean and greatest of a figure, in words."""

    least: str = NOTHING
    mean: str = NOTHING
    greatest: str = NOTHING


@dataclass(frozen=True, slots=True)
class Share:
    """A line of the legend. ``id`` is the chart's; ``tone`` is the class of its colour."""

    id: str
    name: str
    note: str
    tone: str
    spread: Spread


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the table, with its unit."""

    title: str
    unit: str
    spreads: Sequence[Spread]


def gpu_subject(gpu: Gpu) -> Subject:
    """A GPU as the page's subject."""
    about = f"{gpu.name} · {gib(gpu.total_bytes)} GiB"
    return Subject(f"{gpu.host.name} · GPU {gpu.index}", about, gpu.host, {"gpu": str(gpu.pk)}, gpu=gpu)


def model_subject(endpoint: Endpoint, name: str) -> Subject:
    """A model on an endpoint as the page's subject."""
    about = f"on {endpoint.name}, {endpoint.host.name}"
    return Subject(name, about, endpoint.host, {"model": name, "endpoint": str(endpoint.pk)}, endpoint=endpoint, model=name)


def choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """What else can be looked at, by host: the address of each GPU and of each model in memory, and its name."""
    by_host: dict[str, list[tuple[str, str]]] = {}
    for gpu in Gpu.objects.select_related("host")[:MOST_CHOICES]:
        by_host.setdefault(gpu.host.name, []).append((_address({"gpu": str(gpu.pk)}), f"GPU {gpu.index} · {gpu.name}"))
    for row in LoadedModel.objects.select_related("endpoint__host").order_by("endpoint__host__name", "name")[:MOST_CHOICES]:
        query = {"model": row.name, "endpoint": str(row.endpoint_id)}
        by_host.setdefault(row.endpoint.host.name, []).append((_address(query), f"{row.name} on {row.endpoint.name}"))
    return sorted(by_host.items())


def fitting_range(subject: Subject, until: datetime) -> str:
    """The default; a shorter one where that holds all there is, a longer one where the default holds nothing."""
    names = list(RANGES)
    default = names.index(DEFAULT_RANGE)
    for longer in names[default:]:
        began = _began(subject.history(until - RANGES[longer][1], until, FINE_POINTS))
        if began is not None:
            return next(name for name in [*names[:default], longer] if began >= until - RANGES[name][1] or name == longer)
    return DEFAULT_RANGE


def _began(found: History) -> datetime | None:
    """The first point at which anything was held or measured."""
    times = (time for place, time in enumerate(found.times) if any(series.mean[place] for series in found.series))
    return next((datetime.fromtimestamp(time, UTC) for time in times), None)


def _address(query: dict[str, str]) -> str:
    return f"?{urlencode(query)}"


def source(subject: Subject, since: datetime | None = None, until: datetime | None = None, format: str = "") -> str:
    """Where the API tells of the subject: for the charts, or whole and for download."""
    query = dict(subject.query)
    if since and until:
        query |= {"since": since.isoformat(), "until": until.isoformat(), "points": str(MOST_POINTS), "format": format}
    return f"{reverse('api:get_history')}?{urlencode(query)}"


# ── whose bytes ──────────────────────────────────────────────────────────────
def shares(found: History, subject: Subject) -> list[Share]:
    """The legend, from the bottom of the stack: models, the largest first, then other programs and the unexplained."""
    lines = [series for series in found.series if series.key.kind in _NOTES]
    lines.sort(key=lambda series: (list(_NOTES).index(series.key.kind), -_mean(series, found)))
    colours = _colours([series.key for series in lines], subject.host)
    share = _share_of_gpu if subject.gpu else _share_of_model
    return [share(series, found, colours) for series in lines]


_NOTES = {Kind.MODEL: "", Kind.OTHER: "another program", Kind.UNEXPLAINED: "held by no process that the driver lists"}


def _share_of_gpu(series: Series, found: History, colours: dict[Key, int]) -> Share:
    key = series.key
    tone = f"m{colours[key] + 1}" if key in colours else key.kind.removesuffix("_bytes")
    return Share(_id(series), key.name or "Unexplained", _NOTES[key.kind], tone, _whole(series, found))


def _share_of_model(series: Series, found: History, colours: dict[Key, int]) -> Share:
    """A colour for each GPU, from the model's own on."""
    gpu = series.gpu
    tone = f"m{(colours[series.key] + gpu.index) % COLOURS + 1}"
    return Share(_id(series), f"GPU {gpu.index}", gpu.name, tone, _whole(series, found))


def _id(series: Series) -> str:
    return f"{series.gpu.uuid}/{series.key.column}"


def _whole(series: Series, found: History) -> Spread:
    """Over the whole span."""
    least = [value for value in series.min if value is not None]
    greatest = [value for value in series.max if value is not None]
    if not least:
        return Spread()
    return Spread(gib(round(min(least))), gib(round(_mean(series, found))), gib(round(max(greatest))))


def _mean(series: Series, found: History) -> float:
    counted = [
        (value, count) for value, count in zip(series.mean, found.samples[series.gpu.pk], strict=True) if value is not None
    ]
    return sum(value * count for value, count in counted) / max(1, sum(count for _, count in counted))


def _colours(keys: Iterable[Key], host: Host) -> dict[Key, int]:
    """As on the Fleet page for what is loaded there; the others take what is free."""
    loaded = LoadedModel.objects.filter(endpoint__host=host).order_by("pk").values_list("endpoint_id", "name")
    wanted = [Key(Kind.MODEL, name, endpoint_id) for endpoint_id, name in loaded]
    wanted += [key for key in keys if key.kind is Kind.MODEL]
    rows = Installation.objects.filter(endpoint__host=host, name__in={key.name for key in wanted}).select_related("variant")
    variants = {(row.endpoint_id, row.name): row.variant for row in rows}
    chosen: dict[int, int] = {}
    found: dict[Key, int] = {}
    for key in wanted:
        own = hue(variants.get((key.endpoint_id or 0, key.name)), key.name)
        ring = [(own + step) % COLOURS for step in range(COLOURS)]
        chosen.setdefault(own, next((colour for colour in ring if colour not in chosen.values()), ring[0]))
        found[key] = chosen[own]
    return found


# ── the table ────────────────────────────────────────────────────────────────
Words = Callable[[float], str]


def _gib(value: float) -> str:
    return gib(round(value))


def _whole_number(value: float) -> str:
    return f"{value:.0f}"


def _watts(value: float) -> str:
    return f"{value / 1000:.0f}"


_FIGURES: dict[Kind, tuple[str, str, Words]] = {
    Kind.USED: ("VRAM", "GiB", _gib),
    Kind.UTILIZATION: ("Utilisation", "%", _whole_number),
    Kind.TEMPERATURE: ("Temperature", "°C", _whole_number),
    Kind.POWER: ("Power", "W", _watts),
}


def columns(found: History, subject: Subject) -> list[Column]:
    """The figures over time: of a GPU its own, of a model its bytes on each GPU."""
    if subject.model:
        return [Column(f"GPU {series.gpu.index}", "GiB", _spreads(series, _gib)) for series in found.series]
    own = [(series, *_FIGURES[series.key.kind]) for series in found.series if series.key.kind in _FIGURES]
    return [Column(title, unit, _spreads(series, words)) for series, title, unit, words in own]


def table(found: History, columns: Sequence[Column]) -> list[tuple[datetime, list[Spread]]]:
    """A row for each point, the newest first; without those at which nothing was measured."""
    rows = [
        (datetime.fromtimestamp(time, UTC), [column.spreads[place] for column in columns])
        for place, time in enumerate(found.times)
    ]
    return [row for row in reversed(rows) if any(spread != Spread() for spread in row[1])]


def _spreads(series: Series, words: Words) -> list[Spread]:
    def said(value: float | None) -> str:
        return NOTHING if value is None else words(value)

    points = zip(series.min, series.mean, series.max, strict=True)
    return [Spread(said(least), said(mean), said(greatest)) for least, mean, greatest in points]
