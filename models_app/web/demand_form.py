"""The form of a demand. ``plans.demand`` judges what was typed; the form keeps it."""

from __future__ import annotations

from typing import Any

from django import forms

from models_app.catalog.models import CatalogModel, Installation
from models_app.inventory.models import Gpu, Host
from models_app.operations.refusals import RequestRefused
from models_app.plans.demand import DemandSpec
from models_app.plans.models import Demand
from models_app.web.typing_aids import PLAIN

PRIORITIES = ((1, "1 · first"), (2, "2"), (3, "3 · usual"), (4, "4"), (5, "5 · last"))
SERVING = (("", "Always on"), ("on", "On demand"))
SCOPES = (("host", "host"), ("gpu", "GPU"))
MOST_SUGGESTED = 400
_LISTS = ("variants", "tags")
_NUMBERS = ("context_length", "least_context_length", "slots", "replicas", "priority", "tolerated_wait_seconds")
_CHOSEN = ("hosts", "gpus", "pinned_gpus", "together_with", "apart_from")


def _text(label: str, help_text: str = "", *, required: bool = False, **attrs: str) -> forms.CharField:
    return forms.CharField(label=label, help_text=help_text, required=required, widget=forms.TextInput(attrs=PLAIN | attrs))


def _number(label: str, help_text: str = "", initial: int | None = None, *, required: bool = False) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    return forms.IntegerField(label=label, help_text=help_text, initial=initial, required=required, widget=widget)


class DemandForm(forms.Form):
    """A demand, as ``DemandSpec`` has it: lists of words are written a line or a comma each, places are ticked."""

    name = _text("Name", "What this is for: chat, code completion, embeddings.", required=True)
    model = _text("Model", "A family, such as llama3.1, or one variant.", required=True, list="known-models")
    variants = forms.CharField(
        label="Variants that will do",
        required=False,
        help_text="One a line, the best first. Empty: the variant itself, or every variant of the family.",
        widget=forms.Textarea(attrs=PLAIN | {"rows": "3"}),
    )
    context_length = _number("Context wanted, tokens a slot", initial=8192, required=True)
    least_context_length = _number("Least context", "Empty: not less than wanted.")
    slots = _number("Slots", "Requests at once.", initial=1, required=True)
    replicas = _number("Replicas", "They never share a GPU.", initial=1, required=True)
    priority = forms.TypedChoiceField(label="Priority", choices=PRIORITIES, coerce=int, initial=3)
    on_demand = forms.ChoiceField(
        label="Serving", choices=SERVING, required=False, help_text="In memory always, or loaded when it is asked for."
    )
    tolerated_wait_seconds = _number("Longest load, seconds", "On demand only. Empty: any.")
    gpu_only = forms.BooleanField(
        label="Only on GPUs", required=False, help_text="Layers on the CPU make answers 3 to 10 times slower."
    )
    tags = _text("Task tags", "Separated by commas: code, summaries.")
    hosts = forms.MultipleChoiceField(label="Allowed hosts", required=False)
    gpus = forms.MultipleChoiceField(label="Allowed GPUs", required=False)
    pinned_gpus = forms.MultipleChoiceField(label="Pinned to exactly", required=False)
    together_with = forms.MultipleChoiceField(label="Keep together with", required=False)
    together_on = forms.ChoiceField(label="On the same", choices=SCOPES, initial="host")
    apart_from = forms.MultipleChoiceField(label="Keep apart from", required=False)
    apart_on = forms.ChoiceField(label="Not on the same", choices=SCOPES, initial="host")

    def __init__(self, *args: Any, row: Demand | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hosts = [(name, name) for name in Host.objects.values_list("name", flat=True)]
        rows = Gpu.objects.filter(present=True).select_related("host")
        gpus = [(gpu.uuid, f"{gpu.host.name} · GPU {gpu.index} · {gpu.name}") for gpu in rows]
        names = Demand.objects.values_list("name", flat=True)
        demands = [(name, name) for name in names if row is None or name != row.name]
        offered = {"hosts": hosts, "gpus": gpus, "pinned_gpus": gpus, "together_with": demands, "apart_from": demands}
        for name, choices in offered.items():
            gone = [value for value in self.initial.get(name, ()) if value not in dict(choices)]
            field = self.fields[name]
            assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - as declared above
            field.widget = forms.CheckboxSelectMultiple()
            field.choices = [*choices, *((value, f"{value} (gone)") for value in gone)]

    def document(self) -> dict[str, Any]:
        """What was typed, as a document."""
        typed = self.cleaned_data
        document = {
            name: typed[name] for name in ("name", "model", "gpu_only", *_NUMBERS, *_CHOSEN, "together_on", "apart_on")
        }
        document["variants"] = [line.strip() for line in typed["variants"].splitlines() if line.strip()]
        document["tags"] = [tag.strip() for tag in typed["tags"].split(",") if tag.strip()]
        return document | {"on_demand": typed["on_demand"] == "on"}

    def refuse(self, refused: RequestRefused) -> None:
        """Show why a service refused what the form says, beside the fields at fault."""
        for field, message in (refused.errors or {"": refused.message}).items():
            self.add_error(field if field in self.fields else None, message)


def initial_of(spec: DemandSpec) -> dict[str, Any]:
    """A demand as the form's fields have it."""
    columns = spec.columns()
    return columns | {
        "variants": "\n".join(spec.variants),
        "tags": ", ".join(spec.tags),
        "on_demand": "on" if spec.on_demand else "",
    }


def known_models() -> list[str]:
    """Names to suggest: families, then what is installed."""
    families = CatalogModel.objects.filter(variants__installations__isnull=False).values_list("name", flat=True)
    installed = Installation.objects.order_by("name").values_list("name", flat=True)
    return list(dict.fromkeys([*families.distinct()[:MOST_SUGGESTED], *installed[:MOST_SUGGESTED]]))
