"""What a request must pass before it becomes an operation, judged by the rows; the runner looks at the endpoint again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from models_app.backends.errors import AddressRefused, InvalidName
from models_app.backends.names import OLLAMA_REGISTRY, check_registry
from models_app.backends.protocol import Capability, ModelState
from models_app.catalog.models import Variant
from models_app.inventory import connect
from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.facts import Facts, facts_of, installed_variant
from models_app.operations.matching import differing_options
from models_app.operations.models import Operation
from models_app.operations.option_checks import check_keep_alive, check_options
from models_app.operations.preview import FitPreview, Verdict, preview_of
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.probes.types import HostSample
from models_app.telemetry.sources import begin_sample

Kind = Operation.Kind
_NEEDED = {
    Kind.LOAD: Capability.LOAD,
    Kind.UNLOAD: Capability.UNLOAD,
    Kind.SWAP: Capability.LOAD,
    Kind.PULL: Capability.PULL,
    Kind.DELETE: Capability.DELETE,
    Kind.SET_KEEP_ALIVE: Capability.KEEP_ALIVE,
    Kind.MEASURE_SPEED: Capability.GENERATE,
    Kind.RESTART: Capability.RESTART,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found out on their way: the models to unload first, and the preview of a load."""

    unload: list[str] = field(default_factory=list)
    preview: FitPreview | None = None


def canonical_name(endpoint: Endpoint, name: str) -> str:
    """The endpoint's own form of a name. Raises ``RequestRefused`` for an impossible one."""
    try:
        return connect.canonical_name(endpoint, name)
    except InvalidName as error:
        raise RequestRefused("invalid_model_name", error.message, field="model") from error
    except AddressRefused as error:
        raise RequestRefused("endpoint_offline", error.message, field="endpoint", status=409) from error


def check_lasting(request: Request) -> None:
    """Those checks of a load or an unload that no change of what is in memory could answer otherwise."""
    _check_endpoint(request)
    if request.kind is Kind.LOAD:
        check_options(request, _installed(request))
    elif loaded := _loaded(request):
        _check_pinned(request, loaded)


def check(request: Request) -> Checked:
    """Every check of the request's kind; its model is in canonical form. Raises ``RequestRefused``."""
    _check_endpoint(request)
    return _CHECKS[request.kind](request)


def _check_endpoint(request: Request) -> None:
    endpoint, needed = request.endpoint, _NEEDED[request.kind]
    if needed not in endpoint.capabilities:
        message = f"{endpoint.name} cannot do this: it offers no {needed.value.replace('_', '-')}."
        raise RequestRefused("capability_missing", message, field="endpoint")
    if endpoint.state != Endpoint.State.ONLINE:
        why = endpoint.state_message or "it has not been looked at yet"
        raise RequestRefused("endpoint_offline", f"{endpoint.name} is not online: {why}", field="endpoint", status=409)


def _check_load(request: Request) -> Checked:
    sample = begin_sample(request.endpoint.host)
    facts = _facts(request)
    loaded = facts.loaded
    if loaded is None:
        return Checked(preview=_fitting(request, [], facts, sample()))
    _check_reload(request, loaded)
    return Checked([loaded.name], _fitting(request, [loaded], facts, sample()))


def _check_swap(request: Request) -> Checked:
    sample = begin_sample(request.endpoint.host)
    facts = _facts(request)
    if loaded := facts.loaded:
        raise RequestRefused("already_loaded", f"{loaded.name} is loaded already.", status=409, loaded=loaded)
    rows = LoadedModel.objects.filter(endpoint=request.endpoint, pk__in=request.unload)
    if len(rows) != len(set(request.unload)) or not rows:
        message = f"A swap names models that are loaded on {request.endpoint.name}; at least one of these is not."
        raise RequestRefused("unknown_loaded_model", message, field="unload")
    for row in rows:
        _check_pinned(request, row)
    return Checked([row.name for row in rows], _fitting(request, list(rows), facts, sample()))


def _check_unload(request: Request) -> Checked:
    _check_pinned(request, _required_loaded(request))
    return Checked()


def _check_restart(request: Request) -> Checked:
    """The server gives back what it holds before it takes it again, perhaps with other settings."""
    sample = begin_sample(request.endpoint.host)
    loaded = _required_loaded(request)
    _check_pinned(request, loaded)
    facts = facts_of(request.endpoint, request.model)
    return Checked(preview=_fitting(request, [loaded], facts, sample()))


def _check_pull(request: Request) -> Checked:
    allowed = frozenset({OLLAMA_REGISTRY, *(name.lower() for name in settings.MODEL_REGISTRIES)})
    try:
        check_registry(request.model, allowed)
    except InvalidName as error:
        raise RequestRefused("invalid_model_name", f"{error.message} {error.hint}".strip(), field="model") from error
    return Checked()


def _check_delete(request: Request) -> Checked:
    _installed(request)
    loaded = _loaded(request)
    if loaded is None:
        return Checked()
    if not request.confirmed:
        message = f"{loaded.name} is loaded. Confirm to unload it and then delete its files."
        raise RequestRefused("model_in_use", message, status=409, loaded=loaded)
    return Checked([loaded.name])


def _check_new_keep_alive(request: Request) -> Checked:
    loaded = _required_loaded(request)
    if request.options.keep_alive_seconds is None:
        raise RequestRefused("invalid_option", "Say how long the model is to stay.", field="keep_alive")
    check_keep_alive(request.options)
    if not request.confirmed and not _residency(request.endpoint, loaded.name):
        message = f"{loaded.name} was loaded by another client; confirm to change how long it stays."
        raise RequestRefused("foreign_model", message, status=409, loaded=loaded)
    return Checked()


def _check_measure(request: Request) -> Checked:
    loaded = _required_loaded(request)
    if loaded.state != ModelState.LOADED:
        message = f"{loaded.name} is {loaded.state} now; its speed can be measured while it is loaded."
        raise RequestRefused("not_loaded", message, field="model", status=409)
    variant, _ = installed_variant(request.endpoint, request.model)
    if variant is not None and variant.is_embedding:
        message = f"{request.model} is an embedding model: it writes no text, so it has no tokens a second."
        raise RequestRefused("embedding_model", message, field="model")
    can_reload = "context_length" in request.endpoint.load_options
    if can_reload and not request.confirmed and not _residency(request.endpoint, loaded.name):
        message = f"{loaded.name} was loaded by another client, perhaps with options that {request.endpoint.name} does not "
        message += "tell; it would then be loaded anew. Confirm to measure its speed all the same."
        raise RequestRefused("foreign_model", message, status=409, loaded=loaded)
    return Checked()


_CHECKS: dict[str, Callable[[Request], Checked]] = {
    Kind.LOAD: _check_load,
    Kind.SWAP: _check_swap,
    Kind.UNLOAD: _check_unload,
    Kind.PULL: _check_pull,
    Kind.DELETE: _check_delete,
    Kind.SET_KEEP_ALIVE: _check_new_keep_alive,
    Kind.MEASURE_SPEED: _check_measure,
    Kind.RESTART: _check_restart,
}


def _facts(request: Request) -> Facts:
    """What the rows say of an installed model that can be loaded with these options."""
    facts = facts_of(request.endpoint, request.model)
    if facts.variant is None:
        raise _unknown_model(request)
    check_options(request, facts.variant)
    return facts


def _installed(request: Request) -> Variant:
    variant, _ = installed_variant(request.endpoint, request.model)
    if variant is None:
        raise _unknown_model(request)
    return variant


def _unknown_model(request: Request) -> RequestRefused:
    message = f"{request.endpoint.name} has no model {request.model}. Pull it first, or choose one that is installed."
    return RequestRefused("unknown_model", message, field="model")


def _check_reload(request: Request, loaded: LoadedModel) -> None:
    residency = _residency(request.endpoint, loaded.name)
    differing = differing_options(request.options, loaded, residency)
    by = f"by {residency.requested_by}" if residency else "by another client"
    if not differing:
        raise RequestRefused("already_loaded", f"{loaded.name} is loaded already, {by}.", status=409, loaded=loaded)
    if not request.reload:
        message = f"{loaded.name} is loaded already, {by}, with another {' and '.join(differing)}. Reload it?"
        raise RequestRefused("loaded_with_other_options", message, status=409, loaded=loaded)


def _check_pinned(request: Request, loaded: LoadedModel) -> None:
    residency = _residency(request.endpoint, loaded.name)
    if residency and residency.pinned and not request.confirmed:
        message = f"{loaded.name} is pinned by {residency.requested_by}. Confirm to unload it all the same."
        raise RequestRefused("pinned", message, status=409, loaded=loaded)


def _fitting(request: Request, unload: list[LoadedModel], facts: Facts, sample: HostSample | None) -> FitPreview:
    preview = preview_of(facts, request.model, request.options, sample, unload=unload)
    if preview.verdict is Verdict.DOES_NOT_FIT and not request.load_anyway:
        raise RequestRefused("does_not_fit", preview.sentence, status=409, preview=preview)
    return preview


def _loaded(request: Request) -> LoadedModel | None:
    return LoadedModel.objects.filter(endpoint=request.endpoint, name=request.model).first()


def _required_loaded(request: Request) -> LoadedModel:
    loaded = _loaded(request)
    if loaded is None:
        message = f"{request.model} is not loaded on {request.endpoint.name}."
        raise RequestRefused("not_loaded", message, field="model", status=409)
    return loaded


def _residency(endpoint: Endpoint, name: str) -> Residency | None:
    return Residency.objects.filter(endpoint=endpoint, name=name, lost_at=None).first()
