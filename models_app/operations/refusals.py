"""The one exception by which a request is refused before anything has been changed."""

from __future__ import annotations

from collections.abc import Mapping

from models_app.inventory.models import LoadedModel
from models_app.operations.models import Operation
from models_app.operations.verdicts import FitPreview


class RequestRefused(Exception):
    """A request that becomes no operation.

    ``code`` is stable, for machines; ``message`` is a sentence for people. ``field`` names what is at fault (an option's
    name, ``model``, ``endpoint``) or is empty, and ``errors`` has a sentence for each field where several are at fault.
    ``status`` is the HTTP status that fits: 422 for a request that can never work, 409 for one that does not work now or
    needs a further choice. ``operation`` is the one in the way, ``loaded`` the model in the way, ``preview`` the reckoning.

    Codes: ``invalid_model_name``, ``unknown_model``, ``unknown_option``, ``unsupported_option``, ``invalid_option``,
    ``unknown_gpu``, ``capability_missing``, ``idempotency_conflict``, ``unknown_loaded_model`` (422);
    ``endpoint_offline``, ``already_loaded``, ``loaded_with_other_options`` (``reload`` accepts it), ``not_loaded``,
    ``target_busy``, ``does_not_fit`` (``load_anyway`` accepts it), ``pinned``, ``model_in_use`` and ``foreign_model``
    (``confirmed`` accepts these), ``already_ended`` (409).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str = "",
        status: int = 422,
        errors: Mapping[str, str] | None = None,
        operation: Operation | None = None,
        loaded: LoadedModel | None = None,
        preview: FitPreview | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = status
        self.errors = dict(errors) if errors else ({field: message} if field else {})
        self.operation = operation
        self.loaded = loaded
        self.preview = preview
