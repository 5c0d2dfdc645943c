"""What a request that loads must pass: its options, what is in memory already, and a preview of the fit.

The host is sampled beside the reading of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from models_app.inventory.models import LoadedModel
from models_app.operations.expected import Expected
from models_app.operations.facts import Facts, facts_of
from models_app.operations.matching import differing_options
from models_app.operations.option_checks import check_options
from models_app.operations.preview import judged
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.operations.rooms import rooms
from models_app.operations.standing import check_pinned, required_loaded, residency_of, unknown_model
from models_app.operations.verdicts import FitPreview, Verdict
from models_app.probes.types import HostSample
from models_app.telemetry.sources import begin_sample


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found out on their way: the models to unload first, and of a load its preview and what is known.

    ``sample`` is what the preview was judged by.
    """

    unload: list[str] = field(default_factory=list)
    preview: FitPreview | None = None
    expected: Expected | None = None
    sample: HostSample | None = None


def check_load(request: Request) -> Checked:
    """One that is loaded with other options is unloaded first, where that was asked for."""
    sample = begin_sample(request.endpoint.host)
    facts = _facts(request)
    loaded = facts.loaded
    if loaded is None:
        return _fitting(request, [], facts, sample)
    _check_reload(request, loaded)
    return _fitting(request, [loaded], facts, sample)


def check_swap(request: Request) -> Checked:
    """Every model to be unloaded is there, and may go."""
    sample = begin_sample(request.endpoint.host)
    facts = _facts(request)
    if loaded := facts.loaded:
        raise RequestRefused("already_loaded", f"{loaded.name} is loaded already.", status=409, loaded=loaded)
    rows = LoadedModel.objects.filter(endpoint=request.endpoint, pk__in=request.unload)
    if len(rows) != len(set(request.unload)) or not rows:
        message = f"A swap names models that are loaded on {request.endpoint.name}; at least one of these is not."
        raise RequestRefused("unknown_loaded_model", message, field="unload")
    for row in rows:
        check_pinned(request, row)
    return _fitting(request, list(rows), facts, sample)


def check_restart(request: Request) -> Checked:
    """The server gives back what it holds before it takes it again, perhaps with other settings."""
    sample = begin_sample(request.endpoint.host)
    loaded = required_loaded(request)
    check_pinned(request, loaded)
    facts = facts_of(request.endpoint, request.model)
    return replace(_fitting(request, [loaded], facts, sample), unload=[])


def _facts(request: Request) -> Facts:
    """What the rows say of an installed model that can be loaded with these options."""
    facts = facts_of(request.endpoint, request.model)
    if facts.variant is None:
        raise unknown_model(request)
    check_options(request, facts.variant)
    return facts


def _check_reload(request: Request, loaded: LoadedModel) -> None:
    residency = residency_of(request.endpoint, loaded.name)
    differing = differing_options(request.options, loaded, residency)
    by = f"by {residency.requested_by}" if residency else "by another client"
    if not differing:
        raise RequestRefused("already_loaded", f"{loaded.name} is loaded already, {by}.", status=409, loaded=loaded)
    if not request.reload:
        message = f"{loaded.name} is loaded already, {by}, with another {' and '.join(differing)}. Reload it?"
        raise RequestRefused("loaded_with_other_options", message, status=409, loaded=loaded)


def _fitting(
    request: Request, unload: list[LoadedModel], facts: Facts, measured: Callable[[], HostSample | None]
) -> Checked:
    subject = facts.subject(request.options)
    sample = measured()
    devices = rooms(sample, unload) if sample else []
    preview = judged(subject, devices, request.options.gpu, request.endpoint, unload, request.model)
    if preview.verdict is Verdict.DOES_NOT_FIT and not request.load_anyway:
        raise RequestRefused("does_not_fit", preview.sentence, status=409, preview=preview)
    return Checked([row.name for row in unload], preview, Expected(facts, subject), sample)
