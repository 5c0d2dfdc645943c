"""Hosts with their GPUs and endpoints: seen by members, changed by admins."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Model, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.agent_link.door import watch
from models_app.catalog.models import Installation
from models_app.inventory import hosts
from models_app.inventory.addresses import checked_url
from models_app.inventory.discovery import discover
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint, Host, LoadedModel
from models_app.inventory.names import checked_name
from models_app.operations.hardware import tiers_of
from models_app.operations.in_use import in_use
from models_app.telemetry.latest import latest_by_host
from models_app.web.access import admin_required, member_required
from models_app.web.connection import look_again, new_endpoint, report_of, requested_test
from models_app.web.host_forms import HostForm, NewHostForm
from models_app.web.host_report import host_report
from models_app.web.host_screen import host_page, read_host, read_newest
from models_app.web.kept_key import posted
from models_app.web.listing import Listing
from models_app.web.people import acting
from models_app.web.removal import ask_and_remove, say_who_was_silent

LISTING = Listing[Host](sorts={"name": "name"}, default_sort="name", searches=("name",), per_page=20)


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every host, by pages."""
    listed = LISTING.page(request, _hosts())
    hosts = list(listed.page)
    latest = latest_by_host([host.pk for host in hosts])
    reports = {host_id: host_report(each.sample) for host_id, each in latest.items()}
    context = {"listed": listed, "hosts": hosts, "tiers": tiers_of(hosts), "reports": reports}
    return render(request, "hosts/index.html", context | {"discovery": settings.DISCOVERY})


@member_required
@require_safe
def detail(request: HttpRequest, host_id: int) -> HttpResponse:
    """One host, live: its GPUs and what fills them, what else it reports, its alerts and operations."""
    found = read_host(host_id)
    page = host_page(found, read_newest(found))
    if page is None:
        raise Http404
    watch(host_id)  # so that its samples come at once when the page's socket is there
    return render(request, "hosts/page.html", {"page": page, "screen": f"host-{host_id}"})


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """Add a host with its first endpoint, which has to answer; *Test connection* only asks it."""
    form = NewHostForm(posted(request))
    report = requested_test(request, form)
    if report is None and request.method == "POST" and form.is_valid() and _add(request, form):
        return redirect("hosts")
    own = hosts.own_host_at(form.cleaned_data.get("url", "")) if report and report.ok else None
    context = {"form": form, "report": report, "own_host": own}
    return render(request, "hosts/add.html", context, status=422 if form.errors else 200)


def _add(request: HttpRequest, form: NewHostForm) -> bool:
    try:
        _check_answers(form)
        host = hosts.add_host(acting(request), form.cleaned_data["name"], form.chosen_tags())
    except InventoryRefused as refused:
        form.refuse(refused)
        return False
    try:
        endpoint = new_endpoint(request, host, form)
    except InventoryRefused as refused:
        hosts.remove_host(acting(request), host, guard=in_use)
        form.refuse(refused, name="endpoint_name")
        return False
    messages.success(request, f"{host.name} is added with {endpoint.name}.")
    if own := hosts.own_host_at(endpoint.url):
        messages.warning(
            request,
            f"{endpoint.url} leads to the panel's own machine, {own.name}: on {host.name} its memory is not measured. "
            f"Unless it is a tunnel to another machine, add the endpoint to {own.name} instead.",
        )
    return True


def _check_answers(form: NewHostForm) -> None:
    """Raises ``InventoryRefused`` before anything is written: a host is added only with an endpoint that answers."""
    checked_name(form.cleaned_data["name"], Host)
    checked_url(form.cleaned_data["url"])
    report = report_of(form)
    if not report.ok:
        field = "api_key" if report.code == "endpoint_unauthorized" else "url"
        raise InventoryRefused(report.code, report.message, field, report.hint)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, host_id: int) -> HttpResponse:
    """Rename or retag a host."""
    host = get_object_or_404(Host, pk=host_id)
    form = HostForm(request.POST or None, initial={"name": host.name, "tags": ", ".join(host.tags)})
    if request.method == "POST" and form.is_valid():
        try:
            host = hosts.update_host(acting(request), host, name=form.cleaned_data["name"], tags=form.chosen_tags())
        except InventoryRefused as refused:
            form.refuse(refused)
        else:
            messages.success(request, f"{host.name} is saved.")
            return redirect("hosts")
    return render(request, "hosts/edit.html", {"form": form, "host": host}, status=422 if form.errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, host_id: int) -> HttpResponse:
    """Remove a host and all that belongs to it, once confirmed."""
    host = get_object_or_404(Host, pk=host_id)
    return ask_and_remove(request, host, lambda: hosts.remove_host(acting(request), host, guard=in_use))


@admin_required
@require_POST
def look(request: HttpRequest, host_id: int) -> HttpResponse:
    """Ask every endpoint of a host again, and on the panel's own host search for new ones."""
    host = get_object_or_404(Host.objects.prefetch_related("endpoints"), pk=host_id)
    found = async_to_sync(discover)(host) if host.is_local else []
    silent = [endpoint.name for endpoint in host.endpoints.all() if not look_again(endpoint)]
    for endpoint in found:
        look_again(endpoint)
    news = f" New: {', '.join(endpoint.name for endpoint in found)}." if found else ""
    return say_who_was_silent(request, host.name, silent, news)


def _hosts() -> QuerySet[Host]:
    counts = Endpoint.objects.annotate(model_count=_count(Installation), loaded_count=_count(LoadedModel))
    return Host.objects.select_related("agent").prefetch_related("gpus", Prefetch("endpoints", counts.order_by("name")))


def _count(rows: type[Model]) -> Coalesce:
    """How many rows belong to an endpoint: a query of its own each, for two joins would multiply."""
    per_endpoint = rows._default_manager.filter(endpoint=OuterRef("pk")).order_by().values("endpoint")
    return Coalesce(Subquery(per_endpoint.annotate(number=Count("pk")).values("number")), 0)
