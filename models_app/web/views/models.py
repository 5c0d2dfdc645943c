"""The catalog: every model with its variants, where each is installed, and where it is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.operations.compare import Comparison, compare
from models_app.operations.hardware import named_tiers
from models_app.operations.load_times import LoadTime, load_times
from models_app.operations.models import Operation
from models_app.operations.refusals import RequestRefused
from models_app.operations.requests import Request, submit
from models_app.web.access import admin_required, member_required
from models_app.web.confirm import Question, ask
from models_app.web.listing import Filter, Listing
from models_app.web.model_rows import all_variants, mark
from models_app.web.people import acting
from models_app.web.pull_form import PullForm, able_to_pull
from models_app.web.templatetags.berth import in_bytes
from models_app.web.what_if import what_if

LISTING = Listing[Variant](
    sorts={
        "name": "name",
        "quantization": "quantization",
        "file_size_bytes": "file_size_bytes",
        "parameter_count": "parameter_count",
        "training_context_length": "training_context_length",
        "created_at": "created_at",
    },
    default_sort="name",
    searches=("name", "model__name", "quantization", "architecture"),
    filters={
        "endpoint_id": "installations__endpoint_id",
        "quantization": "quantization",
        "presence": "presence",
        "is_embedding": "is_embedding",
    },
)
PRESENCE = Filter(
    "presence", "State", (("loaded", "Loaded now"), ("installed", "Installed, not loaded"), ("gone", "Installed nowhere"))
)
PURPOSE = Filter("is_embedding", "Kind", (("False", "Text"), ("True", "Embedding")))
MOST_CHOICES = 200


@member_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The variants of every model."""
    endpoints = [(str(pk), name) for pk, name in Endpoint.objects.order_by("name").values_list("pk", "name")[:MOST_CHOICES]]
    found = Variant.objects.exclude(quantization="").order_by("quantization").values_list("quantization", flat=True)
    quantizations = tuple((name, name) for name in found.distinct()[:MOST_CHOICES])
    offered = (
        PRESENCE,
        Filter("endpoint_id", "Endpoint", tuple(endpoints)),
        Filter("quantization", "Quantisation", quantizations),
        PURPOSE,
    )
    listed = LISTING.page(request, all_variants(), *offered)
    mark(listed.page.object_list)
    context = {"listed": listed, "can_pull": bool(able_to_pull()), "has_endpoints": bool(endpoints)}
    if not listed.page.object_list:
        context["suits"] = named_tiers()
    return render(request, "models/index.html", context)


@member_required
@require_safe
def detail(request: HttpRequest, model_id: int) -> HttpResponse:
    """One model: its variants side by side, where they are, what can be done with them. While somebody asks "what if?",
    the answer alone.
    """
    model = get_object_or_404(CatalogModel, pk=model_id)
    found = {variant.pk: variant for variant in all_variants().filter(model=model).order_by("-file_size_bytes", "pk")}
    variants = list(found.values())
    question = what_if(variants, request.GET)
    if request.htmx.target == "what-if-answer":  # type: ignore[attr-defined]
        return render(request, "models/what_if_answer.html", {"what_if": question})
    compared = [each for each in compare(model) if each.variant.pk in found]
    mark(variants)
    context = {
        "model": model,
        "rows": [(found[each.variant.pk], each) for each in compared],
        "contexts": _contexts(compared),
        "what_if": question,
        "can_pull": bool(able_to_pull()),
        "load_times": _load_times(found),
    }
    return render(request, "models/detail.html", context)


def _load_times(variant_ids: Iterable[int]) -> dict[int, list[LoadTime]]:
    by_variant: dict[int, list[LoadTime]] = {}
    for found in load_times(variant_ids):
        by_variant.setdefault(found.variant_id or 0, []).append(found)
    return by_variant


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def pull(request: HttpRequest) -> HttpResponse:
    """Download a model to an endpoint; its operation's page shows how far it is."""
    endpoints = able_to_pull()
    initial = {"model": request.GET.get("model", "")[:200], "endpoint": request.GET.get("endpoint", "")}
    form = PullForm(request.POST or None, endpoints=endpoints, initial=initial)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            asked = Request(Operation.Kind.PULL, acting(request), chosen["endpoint"], chosen["model"])
            operation = submit(asked)
        except RequestRefused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        else:
            return redirect("operation", operation.pk)
    status = 422 if form.errors else 200
    return render(request, "models/pull.html", {"form": form, "endpoints": endpoints}, status=status)


@admin_required
@require_safe
def delete(request: HttpRequest, installation_id: int) -> HttpResponse:
    """The question before an installed model's files are deleted; the answer is a new operation."""
    rows = Installation.objects.select_related("endpoint__host", "variant")
    return ask(request, _deletion(get_object_or_404(rows, pk=installation_id)))


def _contexts(compared: Iterable[Comparison]) -> list[int]:
    """The columns of the comparison: every context that any variant was reckoned at."""
    return sorted({need.context_length for each in compared for need in each.needs})


def _deletion(place: Installation) -> Question:
    sentences = [f"{in_bytes(place.size_bytes)} of files on {place.endpoint.name} ({place.endpoint.host.name}) are gone."]
    if LoadedModel.objects.filter(endpoint=place.endpoint, name=place.name).exists():
        sentences.append("It is loaded: it is unloaded first, and requests that it answers now are cut off.")
    others = place.variant.installations.exclude(pk=place.pk).select_related("endpoint")
    if names := ", ".join(other.endpoint.name for other in others[:5]):
        sentences.append(f"It stays installed on {names}.")
    else:
        sentences.append("It is installed nowhere else: to have it again it must be downloaded again.")
    return Question(
        title=f"Delete {place.name} from {place.endpoint.name}?",
        consequences=tuple(sentences),
        action="Delete",
        back=reverse("model_detail", args=[place.variant.model_id]),
        address=reverse("operations"),
        fields=(("kind", "delete"), ("endpoint", str(place.endpoint_id)), ("model", place.name)),
    )
