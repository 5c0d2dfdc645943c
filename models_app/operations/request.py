"""What someone asks for, as a value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from models_app.accounts.roles import Actor
from models_app.backends.protocol import LoadOptions
from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation

ANY = LoadOptions()
"""Everything is the backend's choice."""


@dataclass(frozen=True, slots=True)
class Request:
    """What someone asks for. ``unload`` are ids of ``LoadedModel`` rows of the same endpoint, for a swap.

    ``load_anyway`` accepts a load that does not fit, ``reload`` the loss of a model loaded with other options,
    ``confirmed`` an unload of a pinned model, a delete of a loaded one, and a change to a model of another client.
    ``step_id`` is the step of an apply that it carries out, 0 for a request of its own.
    """

    kind: Operation.Kind
    actor: Actor
    endpoint: Endpoint
    model: str
    options: LoadOptions = ANY
    unload: tuple[int, ...] = ()
    load_anyway: bool = False
    reload: bool = False
    confirmed: bool = False
    idempotency_key: str = ""
    step_id: int = 0

    def digest(self) -> str:
        """The same for two requests that ask for the same, whoever asks and under whichever key."""
        flags = [self.load_anyway, self.reload, self.confirmed]
        body = [self.kind, self.endpoint.pk, self.model, self.options.given(), sorted(self.unload), flags]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
