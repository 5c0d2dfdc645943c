"""The one door to operations: a request is checked, becomes rows in one transaction, and is handed to a worker.

Every function returns the queued ``Operation`` and raises ``RequestRefused``, whose docstring lists the codes. The same
``idempotency_key`` with the same request returns the first operation. The caller has checked that the actor is an admin.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def submit(request: Request) -> Operation:
    """Check the request and queue its operation."""
    raise NotImplementedError


def request_load(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    options: LoadOptions = ANY,
    *,
    load_anyway: bool = False,
    reload: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Load a model."""
    return submit(
        Request(
            Operation.Kind.LOAD,
            actor,
            endpoint,
            model,
            options,
            load_anyway=load_anyway,
            reload=reload,
            idempotency_key=idempotency_key,
        )
    )


def request_unload(
    actor: Actor, endpoint: Endpoint, model: str, *, confirmed: bool = False, idempotency_key: str = ""
) -> Operation:
    """Take a model out of memory; a pinned one only when ``confirmed``."""
    kind = Operation.Kind.UNLOAD
    return submit(Request(kind, actor, endpoint, model, confirmed=confirmed, idempotency_key=idempotency_key))


def request_swap(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    unload: Sequence[int],
    options: LoadOptions = ANY,
    *,
    load_anyway: bool = False,
    confirmed: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Unload the loaded models with the ids ``unload``, then load ``model``; a failure puts the old ones back."""
    return submit(
        Request(
            Operation.Kind.SWAP,
            actor,
            endpoint,
            model,
            options,
            tuple(unload),
            load_anyway=load_anyway,
            confirmed=confirmed,
            idempotency_key=idempotency_key,
        )
    )


def request_pull(actor: Actor, endpoint: Endpoint, model: str, *, idempotency_key: str = "") -> Operation:
    """Download a model to the endpoint."""
    return submit(Request(Operation.Kind.PULL, actor, endpoint, model, idempotency_key=idempotency_key))


def request_delete(
    actor: Actor, endpoint: Endpoint, model: str, *, confirmed: bool = False, idempotency_key: str = ""
) -> Operation:
    """Remove an installed model's files; one that is loaded is unloaded first, and only when ``confirmed``."""
    kind = Operation.Kind.DELETE
    return submit(Request(kind, actor, endpoint, model, confirmed=confirmed, idempotency_key=idempotency_key))


def request_set_keep_alive(
    actor: Actor,
    endpoint: Endpoint,
    model: str,
    keep_alive_seconds: int,
    *,
    confirmed: bool = False,
    idempotency_key: str = "",
) -> Operation:
    """Change how long an idle model stays (negative: for ever); a model of another client only when ``confirmed``."""
    options = LoadOptions(keep_alive_seconds=keep_alive_seconds)
    kind = Operation.Kind.SET_KEEP_ALIVE
    return submit(Request(kind, actor, endpoint, model, options, confirmed=confirmed, idempotency_key=idempotency_key))


def request_cancel(actor: Actor, operation: Operation) -> Operation:
    """Cancel a queued operation at once, a running one at its next look. Raises ``RequestRefused`` (``already_ended``)."""
    raise NotImplementedError


def set_pinned(actor: Actor, endpoint: Endpoint, model: str, pinned: bool) -> None:
    """Pin or unpin a model that Berth loaded. Raises ``RequestRefused`` (``not_loaded``, ``foreign_model``)."""
    raise NotImplementedError
