"""Which options an endpoint can honour, and which make sense for a model."""

from __future__ import annotations

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Variant
from models_app.inventory.models import Endpoint, Gpu
from models_app.operations.refusals import RequestRefused
from models_app.operations.request import Request


def check_options(request: Request, variant: Variant) -> None:
    """Whether the endpoint can honour the options, and whether they make sense for the model. Raises ``RequestRefused``."""
    given = request.options.given()
    for name in given:
        if name != "pinned" and name not in request.endpoint.load_options:
            field = "keep_alive" if name == "keep_alive_seconds" else name
            message = f"{request.endpoint.name} cannot honour the option {field} when it loads a model."
            raise RequestRefused("unsupported_option", message, field=field)
    check_keep_alive(request.options)
    if request.options.gpu is not None:
        _check_gpu(request.endpoint, request.options.gpu)
    _check_against_variant(request, variant)


def check_keep_alive(options: LoadOptions) -> None:
    """Servers take 0 as an unload. Raises ``RequestRefused``."""
    if options.keep_alive_seconds == 0:
        message = "A keep-alive of 0 would unload the model at once; give a time, or unload it."
        raise RequestRefused("invalid_option", message, field="keep_alive")


def _check_gpu(endpoint: Endpoint, uuid: str) -> None:
    if not Gpu.objects.filter(host=endpoint.host_id, uuid=uuid, present=True).exists():
        raise RequestRefused("unknown_gpu", f"{endpoint.host.name} has no GPU {uuid}.", field="gpu")


def _check_against_variant(request: Request, variant: Variant) -> None:
    trained, wanted = variant.training_context_length, request.options.context_length
    if trained and wanted and wanted > trained and not request.load_anyway:
        message = f"{request.model} was trained for a context of {trained:,} tokens; {wanted:,} is more."
        raise RequestRefused("invalid_option", message, field="context_length")
    layers, on_gpu = variant.layer_count, request.options.gpu_layers
    if layers and on_gpu is not None and on_gpu > layers + 1:
        message = f"{request.model} has {layers} layers and an output layer; {on_gpu} cannot go to the GPU."
        raise RequestRefused("invalid_option", message, field="gpu_layers")
