"""What a request must pass before it becomes an operation, judged by the rows; the runner looks at the endpoint again."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

from models_app.backends.errors import AddressRefused, InvalidName
from models_app.backends.names import OLLAMA_REGISTRY, check_registry
from models_app.backends.protocol import Capability, ModelState
from models_app.catalog.models import Variant
from models_app.inventory import connect
from models_app.inventory.models import Endpoint
from models_app.operations.facts import installed_variant
from models_app.operations.load_checks import Checked, check_load, check_restart, check_swap
from models_app.operations.models import Operation
from models_app.operations.option_checks import check_keep_alive, check_options
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request
from models_app.operations.standing import check_pinned, loaded_row, required_loaded, residency_of, unknown_model

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
    elif loaded := loaded_row(request):
        check_pinned(request, loaded)


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


def _check_unload(request: Request) -> Checked:
    check_pinned(request, required_loaded(request))
    return Checked()


def _check_pull(request: Request) -> Checked:
    allowed = frozenset({OLLAMA_REGISTRY, *(name.lower() for name in settings.MODEL_REGISTRIES)})
    try:
        check_registry(request.model, allowed)
    except InvalidName as error:
        raise RequestRefused("invalid_model_name", error.words, field="model") from error
    return Checked()


def _check_delete(request: Request) -> Checked:
    _installed(request)
    loaded = loaded_row(request)
    if loaded is None:
        return Checked()
    if not request.confirmed:
        message = f"{loaded.name} is loaded. Confirm to unload it and then delete its files."
        raise RequestRefused("model_in_use", message, status=409, loaded=loaded)
    return Checked([loaded.name])


def _check_new_keep_alive(request: Request) -> Checked:
    loaded = required_loaded(request)
    if request.options.keep_alive_seconds is None:
        raise RequestRefused("invalid_option", "Say how long the model is to stay.", field="keep_alive")
    check_keep_alive(request.options)
    _check_nothing_else(request)
    if not request.confirmed and not residency_of(request.endpoint, loaded.name):
        message = f"{loaded.name} was loaded by another client; confirm to change how long it stays."
        raise RequestRefused("foreign_model", message, status=409, loaded=loaded)
    return Checked()


def _check_nothing_else(request: Request) -> None:
    """A new keep-alive changes nothing else; a plan that is enforced repeats its other options, and says ``reload``."""
    others = sorted(name for name in request.options.given() if name != "keep_alive_seconds")
    if others and not request.reload:
        message = f"A new keep-alive does not change {others[0]}: load the model with it, or pin the loaded model itself."
        raise RequestRefused("unsupported_option", message, field=others[0])


def _check_measure(request: Request) -> Checked:
    loaded = required_loaded(request)
    if loaded.state != ModelState.LOADED:
        message = f"{loaded.name} is {loaded.state} now; its speed can be measured while it is loaded."
        raise RequestRefused("not_loaded", message, field="model", status=409)
    variant, _ = installed_variant(request.endpoint, request.model)
    if variant is not None and variant.is_embedding:
        message = f"{request.model} is an embedding model: it writes no text, so it has no tokens a second."
        raise RequestRefused("embedding_model", message, field="model")
    can_reload = "context_length" in request.endpoint.load_options
    if can_reload and not request.confirmed and not residency_of(request.endpoint, loaded.name):
        message = f"{loaded.name} was loaded by another client, perhaps with options that {request.endpoint.name} does not "
        message += "tell; it would then be loaded anew. Confirm to measure its speed all the same."
        raise RequestRefused("foreign_model", message, status=409, loaded=loaded)
    return Checked()


_CHECKS: dict[str, Callable[[Request], Checked]] = {
    Kind.LOAD: check_load,
    Kind.SWAP: check_swap,
    Kind.UNLOAD: _check_unload,
    Kind.PULL: _check_pull,
    Kind.DELETE: _check_delete,
    Kind.SET_KEEP_ALIVE: _check_new_keep_alive,
    Kind.MEASURE_SPEED: _check_measure,
    Kind.RESTART: check_restart,
}


def _installed(request: Request) -> Variant:
    variant, _ = installed_variant(request.endpoint, request.model)
    if variant is None:
        raise unknown_model(request)
    return variant
