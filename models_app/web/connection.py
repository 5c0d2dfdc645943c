"""Asking an endpoint from a page: the test of an address, and the look that brings its rows up to date."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from django.http import HttpRequest

from models_app.backends.errors import BackendError
from models_app.inventory.addresses import address_key
from models_app.inventory.connect import ConnectionReport, test_connection
from models_app.inventory.endpoints import add_endpoint
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.observe import look_and_record
from models_app.inventory.refresh import refresh_installed
from models_app.web.host_forms import EndpointChangeForm, EndpointForm
from models_app.web.kept_key import forget_key, keep_key
from models_app.web.people import acting


def requested_test(request: HttpRequest, form: EndpointForm, endpoint: Endpoint | None = None) -> ConnectionReport | None:
    """What *Test connection* found; ``None`` where the form was sent by another button."""
    if request.method != "POST" or "test" not in request.POST:
        return None
    form.is_valid()
    for name in [name for name in form.errors if name != "url"]:
        del form.errors[name]
    keep_key(request, form)
    if not form.cleaned_data.get("url"):
        return ConnectionReport(False, message="Enter an address.")
    return report_of(form, endpoint)


def report_of(form: EndpointForm, endpoint: Endpoint | None = None) -> ConnectionReport:
    """What answers at the form's address with the form's key, or with the stored one where the address is the same."""
    chosen = form.cleaned_data
    key = chosen.get("api_key", "")
    if endpoint and isinstance(form, EndpointChangeForm) and form.new_key is None and _is_same(chosen["url"], endpoint.url):
        key = endpoint.api_key
    return async_to_sync(test_connection)(chosen["url"], form.chosen_kind, key)


def new_endpoint(request: HttpRequest, host: Host, form: EndpointForm) -> Endpoint:
    """The form's endpoint, added to the host, with what it has installed. Raises ``InventoryRefused``."""
    chosen = form.cleaned_data
    endpoint = async_to_sync(add_endpoint)(
        acting(request), host, chosen["endpoint_name"], chosen["url"], chosen["api_key"], form.chosen_kind
    )
    forget_key(request)
    look_again(endpoint)
    return endpoint


def look_again(endpoint: Endpoint) -> bool:
    """Read again what the endpoint is, has installed and has in memory; whether it answered."""
    return async_to_sync(_look_again)(endpoint)


async def _look_again(endpoint: Endpoint) -> bool:
    try:
        await look_and_record(endpoint)
        await refresh_installed(endpoint)
    except BackendError:
        return False
    return True


def _is_same(url: str, known: str) -> bool:
    """Whether a stored key may go to this address: it is never sent to another one than it was entered for."""
    try:
        return address_key(url)[:2] == address_key(known)[:2]
    except ValueError:
        return False
