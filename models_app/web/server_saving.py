"""Adding and changing a server that Berth starts, as its form says."""

from __future__ import annotations

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
    try:
        endpoint = managed.add_managed(acting(request), host, form.data.get("endpoint_name", ""), form.spec())
    except RequestRefused as refused:
        form.refuse_request(refused)
        return None
    except InventoryRefused as refused:
        form.refuse(refused)
        return None
    look_again(endpoint)
    return endpoint


def updated(request: HttpRequest, endpoint: Endpoint, form: SpecForm) -> bool:
    """Whether the server has the form's settings; where not, the form says why."""
    try:
        endpoint = managed.update_managed(acting(request), endpoint, form.data.get("endpoint_name", ""), form.spec())
    except RequestRefused as refused:
        form.refuse_request(refused)
        return False
    except InventoryRefused as refused:
        form.refuse(refused)
        return False
    look_again(endpoint)
    needs = " It runs with its former settings until it is restarted." if managed.must_restart(endpoint.managed) else ""
    messages.success(request, f"{endpoint.name} is saved.{needs}")
    return True


def allow_file_of(host: Host) -> Path:
    """Where the owner of a machine says what may be started there."""
    return supervisor().allow_file if host.is_local else Path(DEFAULT_ALLOW_FILE)
