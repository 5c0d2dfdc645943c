"""Agents of hosts: their one-time tokens, shown once with the commands that use them, and their end."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from models_app.agent.proofs import Token
from models_app.agent_link import enrolment, reports
from models_app.agent_link.models import Agent, Enrolment
from models_app.inventory import hosts
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Host
from models_app.web.access import admin_required
from models_app.web.confirm import Question, ask
from models_app.web.host_forms import HostForm
from models_app.web.people import acting


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """Add a host that an agent reports on; the token is in the answer to the ``POST`` and nowhere else."""
    form = HostForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            host = hosts.add_host(acting(request), form.cleaned_data["name"], form.chosen_tags())
            return _show(request, host, *enrolment.make_token(acting(request), host))
        except InventoryRefused as refused:
            form.refuse(refused)
    return render(request, "hosts/add_agent.html", {"form": form}, status=422 if form.errors else 200)


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: HttpRequest, host_id: int) -> HttpResponse:
    """Give a host its first agent, or another one in place of the one it has."""
    host = get_object_or_404(Host, pk=host_id)
    if request.method != "POST":
        return ask(request, _enrolment(host, Agent.objects.filter(host=host, revoked_at=None).first()))
    try:
        made = enrolment.make_token(acting(request), host, replace=request.POST.get("replace") == "1")
    except InventoryRefused as refused:
        agent = Agent.objects.filter(host=host, revoked_at=None).first()
        return ask(request, _enrolment(host, agent), refusal=f"{refused.message} {refused.hint}".strip(), status=409)
    return _show(request, host, *made)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, agent_id: int) -> HttpResponse:
    """End an agent's secret and its connection, once confirmed."""
    agent = get_object_or_404(Agent.objects.select_related("host"), pk=agent_id, revoked_at=None)
    if request.method != "POST":
        return ask(request, _revocation(agent))
    enrolment.revoke(acting(request), agent)
    messages.success(request, f"The agent of {agent.host.name} is no longer let in.")
    return redirect("hosts")


@admin_required
@require_POST
def bring_back(request: HttpRequest, host_id: int) -> HttpResponse:
    """List an endpoint again that was removed and that the agent may still announce."""
    host = get_object_or_404(Host, pk=host_id)
    try:
        endpoint = reports.bring_back(acting(request), host, request.POST.get("name", ""))
    except InventoryRefused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{endpoint.name} is listed again.")
    return redirect("hosts")


def _show(request: HttpRequest, host: Host, made: Enrolment, token: Token) -> HttpResponse:
    context = {"host": host, "secret": str(token), "expires_at": made.expires_at, "panel": _panel_address(request)}
    return render(request, "hosts/agent_token.html", context)


def _panel_address(request: HttpRequest) -> str:
    """The panel's socket for agents, at the address by which this browser reached the panel."""
    return request.build_absolute_uri("/agent/").replace("http", "ws", 1)


def _enrolment(host: Host, agent: Agent | None) -> Question:
    if agent is None:
        sentences = [
            "A one-time token is made, which is valid for an hour and shown once.",
            "The agent on the host then reports its GPUs every second, and reaches its servers for Berth.",
        ]
        title = f"Enrol an agent on {host.name}?"
        return Question(title, tuple(sentences), "Make a token", reverse("hosts"), _address(host), loses=False)
    return Question(
        title=f"Enrol the agent of {host.name} again?",
        consequences=(
            "A one-time token is made, which is valid for an hour and shown once.",
            "Once it is used, the agent that there is now is no longer let in.",
            "What was asked of it and has not ended is given up then.",
        ),
        action="Make a token",
        back=reverse("hosts"),
        address=_address(host),
        fields=(("replace", "1"),),
    )


def _address(host: Host) -> str:
    return reverse("host_agent_enrol", args=[host.pk])


def _revocation(agent: Agent) -> Question:
    return Question(
        title=f"Revoke the agent of {agent.host.name}?",
        consequences=(
            "Its connection is closed, and its secret never counts again.",
            "Its endpoints are out of reach until the host is enrolled again.",
            "The servers go on running with what they have loaded.",
        ),
        action="Revoke",
        back=reverse("hosts"),
        address=reverse("host_agent_revoke", args=[agent.pk]),
    )
