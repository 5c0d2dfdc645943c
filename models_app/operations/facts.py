"""What the rows say of a model on an endpoint, read once: from these facts and options comes a ``Subject``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from django.db.models import Sum

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Installation, Variant, VariantHeader
from models_app.estimator.learned import Measured
from models_app.estimator.profiles import BuildProfile
from models_app.estimator.types import InvalidSettings, LoadSettings
from models_app.inventory.models import Endpoint, Gpu, LoadedModel
from models_app.operations.accompaniment import Companions, companions_of
from models_app.operations.builds import has_own_runner, profile_of
from models_app.operations.load_settings import Situation, load_settings, only_gpu, seen_gpus, unset, uses_every_gpu
from models_app.operations.measurements import LoadMeasurement
from models_app.operations.oracle import Planner, planner_for
from models_app.operations.refusals import RequestRefused
from models_app.operations.subject import Subject, settings_key

MEASUREMENTS_READ = 50
MEASUREMENTS_READ_AT_ONCE = 2000
_FIGURES = tuple(figure.name for figure in fields(Measured))
"""Of a measurement, what the next estimate learns from: a column each, of the same name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rows say of a model on an endpoint, whatever the options. ``size_bytes`` as in ``Subject``.

    ``measurements`` are earlier loads of the variant, the latest first; ``None`` has them read for the settings asked for.
    ``gpu_count`` is that of the host, ``planner`` who may be asked about the model; ``loaded`` is its row while in memory.
    """

    endpoint: Endpoint
    variant: Variant | None
    size_bytes: int
    situation: Situation
    measurements: tuple[LoadMeasurement, ...] | None = None
    gpu_count: int = 0
    planner: Planner | None = None
    loaded: LoadedModel | None = None

    def subject(self, options: LoadOptions) -> Subject:
        """The subject with settled settings. Raises ``RequestRefused`` (``invalid_option``)."""
        try:
            settings, unknown = load_settings(options, self.situation)
        except InvalidSettings as error:
            raise RequestRefused("invalid_option", str(error), field="cache_type_v") from error
        profile = profile_of(self.endpoint)
        return Subject(
            variant=self.variant,
            size_bytes=self.size_bytes,
            settings=settings,
            profile=profile,
            header=self._header(),
            past=self._past(profile, settings),
            gpus=seen_gpus(self.situation),
            every_gpu=uses_every_gpu(self.situation),
            only_gpu=only_gpu(self.situation),
            planner=self.planner,
            companions=self._companions(),
            unset=unset(options, self.situation) if profile.fits_by_itself else None,
            unknown=unknown,
        )

    def _header(self) -> bytes:
        header = getattr(self.variant, "header", None)
        return bytes(header.content) if isinstance(header, VariantHeader) else b""

    def _companions(self) -> Companions:
        return companions_of(self.endpoint, self.situation.launch or {}, self.size_bytes, self._header())

    def _past(self, profile: BuildProfile, settings: LoadSettings) -> dict[str, list[Measured]]:
        if self.variant is None:
            return {}
        if self.measurements is None:
            return _past(self.endpoint, self.variant, profile, settings)
        return _of_these_settings(self.measurements, self.endpoint, profile, settings)


def installed_variant(endpoint: Endpoint, model: str) -> tuple[Variant | None, int]:
    """The variant behind an endpoint's name for it, and the size of its files in bytes (0 where unknown)."""
    found = _installation(endpoint, model)
    return (found.variant, found.size_bytes or found.variant.file_size_bytes) if found else (None, 0)


def installed_subject(endpoint: Endpoint, model: str, options: LoadOptions) -> Subject:
    """The subject behind an endpoint's own name. Raises ``RequestRefused`` (``invalid_option``)."""
    return facts_of(endpoint, model).subject(options)


def facts_of(endpoint: Endpoint, model: str) -> Facts:
    """What the rows say of a model by the endpoint's own name."""
    found = _installation(endpoint, model)
    if found is None:
        return _facts(endpoint, model, None, {})
    size_bytes = found.size_bytes or found.variant.file_size_bytes
    facts = _facts(endpoint, model, found.variant, found.launch, size_bytes)
    return replace(facts, planner=planner_for(endpoint, found.launch, facts.gpu_count))


def foreign_subject(endpoint: Endpoint, variant: Variant, options: LoadOptions) -> Subject:
    """The same for a variant that the endpoint does not have yet. Raises ``RequestRefused`` (``invalid_option``)."""
    return _facts(endpoint, variant.name, variant, {}, variant.file_size_bytes).subject(options)


def _installation(endpoint: Endpoint, model: str) -> Installation | None:
    rows = Installation.objects.select_related("variant__header")
    return rows.filter(endpoint=endpoint, name=model).first()


def installed_facts(endpoints: Iterable[Endpoint]) -> dict[tuple[int, str], Facts]:
    """Everything that these endpoints can load, by their ids and their names for it: a few queries, however many."""
    by_id = {endpoint.pk: endpoint for endpoint in endpoints}
    rows = Installation.objects.filter(endpoint__in=by_id).prefetch_related("variant__header", "variant__model")
    loaded = {(row.endpoint_id, row.name): row for row in LoadedModel.objects.filter(endpoint__in=by_id)}
    gpus = Gpu.objects.filter(present=True).order_by().values_list("host").annotate(total_bytes=Sum("total_bytes"))
    vram = dict(gpus)
    measured: dict[int, list[LoadMeasurement]] = {}
    for past in LoadMeasurement.objects.filter(is_outlier=False).order_by("-id")[:MEASUREMENTS_READ_AT_ONCE]:
        measured.setdefault(past.variant_id, []).append(past)
    return {
        (row.endpoint_id, row.name): Facts(
            endpoint=by_id[row.endpoint_id],
            variant=row.variant,
            size_bytes=row.size_bytes or row.variant.file_size_bytes,
            situation=_situation(
                by_id[row.endpoint_id],
                row.variant,
                row.launch,
                loaded.get((row.endpoint_id, row.name)),
                vram.get(by_id[row.endpoint_id].host_id, 0),
            ),
            measurements=tuple(measured.get(row.variant_id, ())),
        )
        for row in rows
    }


def _facts(
    endpoint: Endpoint,
    model: str,
    variant: Variant | None,
    launch: dict[str, object],
    size_bytes: int = 0,
) -> Facts:
    loaded = LoadedModel.objects.filter(endpoint=endpoint, name=model).order_by().first()
    totals = list(Gpu.objects.filter(host=endpoint.host_id, present=True).order_by().values_list("total_bytes", flat=True))
    situation = _situation(endpoint, variant, launch, loaded, sum(totals))
    return Facts(endpoint, variant, size_bytes, situation, gpu_count=len(totals), loaded=loaded)


def _situation(
    endpoint: Endpoint, variant: Variant | None, launch: dict[str, object], loaded: LoadedModel | None, vram_bytes: int
) -> Situation:
    return Situation(
        kind=endpoint.kind,
        mode=endpoint.mode,
        has_own_runner=has_own_runner(endpoint),
        vram_bytes=vram_bytes,
        training_context_length=variant.training_context_length if variant else None,
        is_embedding=variant.is_embedding if variant else False,
        observed_context=loaded.context_length if loaded else None,
        observed_parallel=loaded.parallel if loaded else None,
        launch=launch,
    )


def _of_these_settings(
    rows: Iterable[LoadMeasurement], endpoint: Endpoint, profile: BuildProfile, settings: LoadSettings
) -> dict[str, list[Measured]]:
    key = settings_key(settings)
    past: dict[str, list[Measured]] = {}
    for row in rows:
        if (row.backend_kind, row.build_profile, row.settings_key) == (endpoint.kind, profile.name, key):
            past.setdefault(row.gpu_names, []).append(row.as_measured())
    return past


def _past(endpoint: Endpoint, variant: Variant, profile: BuildProfile, settings: LoadSettings) -> dict[str, list[Measured]]:
    rows = LoadMeasurement.objects.filter(
        variant=variant,
        backend_kind=endpoint.kind,
        build_profile=profile.name,
        settings_key=settings_key(settings),
        is_outlier=False,
    )
    past: dict[str, list[Measured]] = {}
    for gpus, *figures in rows.order_by("-id").values_list("gpu_names", *_FIGURES)[:MEASUREMENTS_READ]:
        past.setdefault(gpus, []).append(Measured(*figures))
    return past
