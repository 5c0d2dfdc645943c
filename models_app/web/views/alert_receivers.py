"""Who is told of alerts besides those who look at the pages, and how the last message fared."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.alerts.delivery import receivers
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.errors import AlertRefused
from models_app.web.access import admin_required
from models_app.web.alert_forms import ReceiverForm
from models_app.web.confirm import Question, ask
from models_app.web.people import acting


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every receiver, and the latest messages."""
    latest: dict[int, Delivery] = {}
    for delivery in Delivery.objects.select_related("receiver", "alert")[:200]:
        latest.setdefault(delivery.receiver_id, delivery)
    rows = [(each, receivers.shown_address(each), latest.get(each.pk)) for each in Receiver.objects.all()]
    deliveries = Delivery.objects.select_related("receiver", "alert")[:30]
    return render(request, "alerts/receivers.html", {"rows": rows, "deliveries": deliveries})


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def add(request: HttpRequest) -> HttpResponse:
    """Add a receiver; a secret that Berth made is shown once."""
    form = ReceiverForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            receiver = receivers.add_receiver(acting(request), form.wanted)
        except AlertRefused as refused:
            form.refuse(refused)
        else:
            return _added(request, receiver, shows_secret=not form.cleaned_data["secret"])
    return render(request, "alerts/receiver_add.html", {"form": form}, status=422 if form.errors else 200)


def _added(request: HttpRequest, receiver: Receiver, *, shows_secret: bool) -> HttpResponse:
    if not (shows_secret and receiver.secret):
        messages.success(request, f"{receiver.name} is added.")
        return redirect("alert_receivers")
    return render(request, "alerts/receiver_secret.html", {"receiver": receiver, "secret": receiver.secret}, status=201)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, receiver_id: int) -> HttpResponse:
    """Change a receiver."""
    receiver = get_object_or_404(Receiver, pk=receiver_id)
    form = ReceiverForm(request.POST or None, receiver=receiver)
    if request.method == "POST" and form.is_valid():
        try:
            receivers.change_receiver(acting(request), receiver, form.wanted)
        except AlertRefused as refused:
            form.refuse(refused)
        else:
            messages.success(request, f"{receiver.name} is saved.")
            return redirect("alert_receivers")
    return render(request, "alerts/receiver.html", {"form": form, "receiver": receiver}, status=422 if form.errors else 200)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, receiver_id: int) -> HttpResponse:
    """Forget a receiver, once confirmed."""
    receiver = get_object_or_404(Receiver, pk=receiver_id)
    if request.method != "POST":
        return ask(request, _removal(receiver))
    receivers.remove_receiver(acting(request), receiver)
    messages.success(request, f"{receiver.name} is no longer told of alerts.")
    return redirect("alert_receivers")


@admin_required
@require_POST
def test(request: HttpRequest, receiver_id: int) -> HttpResponse:
    """Send a message about nothing; the list shows how it fared."""
    receiver = get_object_or_404(Receiver, pk=receiver_id)
    receivers.try_receiver(acting(request), receiver)
    messages.success(request, f"A test is on its way to {receiver.name}; its verdict appears below.")
    return redirect("alert_receivers")


def _removal(receiver: Receiver) -> Question:
    return Question(
        title=f"Remove {receiver.name}?",
        consequences=("It is told of no further alert.", "Lost: its secret, and what was sent to it."),
        action="Remove",
        back=reverse("alert_receivers"),
        address=reverse("alert_receiver_remove", args=[receiver.pk]),
    )
