"""Adding, testing, changing and removing the endpoints of a host."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from models_app.inventory import endpoints
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host
from models_app.operations.in_use import in_use
from models_app.web.access import admin_required
from models_app.web.connection import look_again, new_endpoint, requested_test
from models_app.web.host_forms import EndpointChangeForm, EndpointForm
from models_app.web.kept_key import forget_key, posted
from models_app.web.people import acting
from models_app.web.removal import ask_and_remove, say_who_was_silent


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, host_id: int) -> HttpResponse:
    """Add an endpoint to a host."""
    host = get_object_or_404(Host, pk=host_id)
    form = EndpointForm(posted(request))
    report = requested_test(request, form)
    if report is None and request.method == "POST" and form.is_valid():
        try:
            endpoint = new_endpoint(request, host, form)
        except InventoryRefused as refused:
            form.refuse(refused, name="endpoint_name")
        else:
            messages.success(request, f"{endpoint.name} is added.")
            return redirect("hosts")
    context = {"form": form, "host": host, "report": report}
    return render(request, "hosts/add_endpoint.html", context, status=422 if form.errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Rename an endpoint, or give it another address or key."""
    endpoint = get_object_or_404(Endpoint.objects.select_related("host"), pk=endpoint_id)
    form = EndpointChangeForm(posted(request), endpoint=endpoint)
    report = requested_test(request, form, endpoint)
    if report is None and request.method == "POST" and form.is_valid():
        name, url = form.cleaned_data["endpoint_name"], form.cleaned_data["url"]
        try:
            endpoint = async_to_sync(endpoints.update_endpoint)(
                acting(request), endpoint, name=name, url=url, api_key=form.new_key
            )
        except InventoryRefused as refused:
            form.refuse(refused, name="endpoint_name")
        else:
            forget_key(request)
            look_again(endpoint)
            messages.success(request, f"{endpoint.name} is saved.")
            return redirect("hosts")
    context = {"form": form, "endpoint": endpoint, "report": report}
    return render(request, "hosts/edit_endpoint.html", context, status=422 if form.errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Remove an endpoint from the list, once confirmed."""
    endpoint = get_object_or_404(Endpoint.objects.select_related("host"), pk=endpoint_id)
    return ask_and_remove(request, endpoint, lambda: endpoints.remove_endpoint(acting(request), endpoint, guard=in_use))


@admin_required
@require_POST
def look(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Ask the endpoint again what it is, what it has installed and what it has in memory."""
    endpoint = get_object_or_404(Endpoint, pk=endpoint_id)
    silent = [] if look_again(endpoint) else [endpoint.name]
    return say_who_was_silent(request, endpoint.name, silent)
