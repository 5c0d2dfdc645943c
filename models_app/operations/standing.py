"""What the rows say of the model that a request is about."""

from __future__ import annotations

from models_app.inventory.models import Endpoint, LoadedModel, Residency
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request


def loaded_row(request: Request) -> LoadedModel | None:
    """The model in memory."""
    return LoadedModel.objects.filter(endpoint=request.endpoint, name=request.model).first()


def required_loaded(request: Request) -> LoadedModel:
    """The same, where there has to be one. Raises ``RequestRefused``."""
    loaded = loaded_row(request)
    if loaded is None:
        message = f"{request.model} is not loaded on {request.endpoint.name}."
        raise RequestRefused("not_loaded", message, field="model", status=409)
    return loaded


def residency_of(endpoint: Endpoint, name: str) -> Residency | None:
    """What Berth keeps there."""
    return Residency.objects.filter(endpoint=endpoint, name=name, lost_at=None).first()


def check_pinned(request: Request, loaded: LoadedModel) -> None:
    """Raises ``RequestRefused`` for a pinned model, unless that was confirmed."""
    residency = residency_of(request.endpoint, loaded.name)
    if residency and residency.pinned and not request.confirmed:
        message = f"{loaded.name} is pinned by {residency.requested_by}. Confirm to unload it all the same."
        raise RequestRefused("pinned", message, status=409, loaded=loaded)


def unknown_model(request: Request) -> RequestRefused:
    """The refusal of a model that is not installed."""
    message = f"{request.endpoint.name} has no model {request.model}. Pull it first, or choose one that is installed."
    return RequestRefused("unknown_model", message, field="model")
