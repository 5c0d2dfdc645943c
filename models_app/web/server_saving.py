"""Adding and changing a server that Berth starts, as its form says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.contrib import messages
from django.http import HttpRequest

from models_app.agent.managed import DEFAULT_ALLOW_FILE
from models_app.inventory import managed
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.server_hosts import supervisor
from models_app.operations.refusals import RequestRefused
from models_app.web.connection import look_again
from models_app.web.people import acting
from models_app.web.server_form import SpecForm


def added(request: HttpRequest, host: Host, form: SpecForm) -> Endpoint | None:
    """The new server; ``None`` where the form now says why there is none."""
    name = form.data.get("endpoint_name", "")
    return _saved(form, lambda: managed.add_managed(acting(request), host, name, form.spec()))


def updated(request: HttpRequest, endpoint: Endpoint, form: SpecForm) -> bool:
    """Whether the server has the form's settings; where not, the form says why."""
    name = form.data.get("endpoint_name", "")
    saved = _saved(form, lambda: managed.update_managed(acting(request), endpoint, name, form.spec()))
    if saved is None:
        return False
    needs = " It runs with its former settings until it is restarted." if managed.must_restart(saved.managed) else ""
    messages.success(request, f"{saved.name} is saved.{needs}")
    return True


def _saved(form: SpecForm, save: Callable[[], Endpoint]) -> Endpoint | None:
    """The server as it now is, with what it says of itself; ``None`` once the form shows why it was refused."""
    try:
        endpoint = save()
    except RequestRefused as refused:
        form.refuse_request(refused)
        return None
    except InventoryRefused as refused:
        form.refuse(refused)
        return None
    look_again(endpoint)
    return endpoint


def allow_file_of(host: Host) -> Path:
    """Where the owner of a machine says what may be started there."""
    return supervisor().allow_file if host.is_local else Path(DEFAULT_ALLOW_FILE)
