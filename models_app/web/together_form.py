"""The question how to serve several models together, as a form."""

from __future__ import annotations

from django import forms
from django.http import QueryDict

from models_app.catalog.models import Installation, Variant
from models_app.inventory.models import Gpu, Host
from models_app.operations.serving import DEFAULT_CONTEXT_LENGTH, MOST_MODELS, Question
from models_app.web.option_fields import pick
from models_app.web.templatetags.berth import short_name

MOST_LISTED = 300
PATIENCE = (
    ("0.5", "Under a second"),
    ("5", "5 seconds"),
    ("15", "15 seconds"),
    ("60", "A minute"),
    ("600", "It does not matter"),
)


class TogetherForm(forms.Form):
    """Which models, where, and what matters. What is missing has a default, so that a link may name the models alone."""

    variant = forms.MultipleChoiceField(label="Models", required=False, widget=forms.CheckboxSelectMultiple)
    where = forms.ChoiceField(label="Where")
    context_length = forms.IntegerField(
        label="Context, tokens of each", min_value=1, max_value=10_000_000, widget=forms.NumberInput(attrs={"step": "any"})
    )
    patience = forms.ChoiceField(label="Longest wait for a model's first answer", choices=PATIENCE)
    isolated = forms.BooleanField(label="Each in a server of its own, so that a crash stops only one", required=False)

    def __init__(self, asked: QueryDict) -> None:
        data = asked.copy()
        self._places = _places()
        for name, value in (
            ("where", next(iter(self._places), "")),
            ("context_length", DEFAULT_CONTEXT_LENGTH),
            ("patience", "15"),
        ):
            if not data.get(name):
                data[name] = str(value)
        super().__init__(data)
        self.fields["where"] = pick("Where", [(key, words) for key, (_, _, words) in self._places.items()])
        rows = Variant.objects.filter(pk__in=Installation.objects.values("variant")).order_by("name", "pk")
        self.variants = {str(row.pk): row for row in rows.select_related("header", "model")[:MOST_LISTED]}
        named = {key: filter(None, (short_name(row.name), row.quantization)) for key, row in self.variants.items()}
        choices = [(key, " · ".join(words)) for key, words in named.items()]
        self.fields["variant"].choices = choices  # type: ignore[attr-defined]

    def clean_variant(self) -> list[Variant]:
        """The models themselves."""
        chosen = [self.variants[key] for key in dict.fromkeys(self.cleaned_data["variant"])]
        if len(chosen) > MOST_MODELS:
            raise forms.ValidationError(f"At most {MOST_MODELS} models at once.")
        return chosen

    def clean_where(self) -> tuple[Host, str]:
        """The host, and the UUID of one GPU where only that counts."""
        host, uuid, _ = self._places.get(self.cleaned_data["where"], (None, "", ""))
        if host is None:
            raise forms.ValidationError("Choose a machine.")
        return host, uuid

    def question(self) -> Question | None:
        """What is asked; ``None`` before any model is chosen, or where a field is at fault."""
        if not self.is_valid() or not self.cleaned_data["variant"]:
            return None
        chosen = self.cleaned_data
        host, gpu = chosen["where"]
        patience, isolated = float(chosen["patience"]), chosen["isolated"]
        return Question(chosen["variant"], host, gpu, chosen["context_length"], patience, isolated)


def _places() -> dict[str, tuple[Host, str, str]]:
    """What a form calls a machine or one of its GPUs: the host, the GPU's UUID, and the words."""
    found: dict[str, tuple[Host, str, str]] = {}
    for host in Host.objects.prefetch_related("gpus"):
        gpus: list[Gpu] = [gpu for gpu in host.gpus.all() if gpu.present]
        words = f"{len(gpus)} GPUs" if len(gpus) > 1 else gpus[0].name if gpus else "no GPU: host RAM"
        found[str(host.pk)] = (host, "", f"{host.name} · {words}")
        if len(gpus) > 1:
            found |= {
                f"{host.pk}:{gpu.pk}": (host, gpu.uuid, f"{host.name} · GPU {gpu.index} · {gpu.name}") for gpu in gpus
            }
    return found
