"""The form that asks for a load or a swap. It keeps what was typed; ``operations`` judges it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict

from models_app.backends.protocol import Capability, LoadOptions
from models_app.catalog.models import Installation
from models_app.estimator.types import LoadSettings
from models_app.inventory.models import Endpoint, Gpu, LoadedModel
from models_app.inventory.references import row_id
from models_app.operations.models import Operation
from models_app.operations.options import parse_options
from models_app.operations.refusals import RequestRefused
from models_app.telemetry.latest import latest_by_host
from models_app.web.option_fields import MAIN_OPTIONS, OPTION_FIELDS, pick, requests_field
from models_app.web.templatetags.berth import in_bytes, short_name

REQUESTS = "requests_per_hour"
LISTED_MODELS = 300
"""Above this many names a model is typed, with suggestions, rather than picked from a list."""


class LoadForm(forms.Form):
    """A load, or a swap when ``kind`` says so. It offers only what the chosen endpoint can honour.

    Nothing is offered before a model is chosen; the endpoint that has most room for it stands in for one not chosen yet.
    """

    kind = forms.CharField(widget=forms.HiddenInput, required=False)

    data: QueryDict

    def __init__(self, data: QueryDict, *, id_prefix: str = "load") -> None:
        super().__init__(data.copy(), auto_id=f"{id_prefix}_%s")
        self.is_swap = self.data.get("kind") == Operation.Kind.SWAP
        self.data["kind"] = Operation.Kind.SWAP if self.is_swap else Operation.Kind.LOAD
        self.endpoint: Endpoint | None = None
        self.names = self._names()
        self._choose()
        self._add_fields()

    @property
    def model(self) -> str:
        """The model's name as chosen or typed."""
        return str(self.data.get("model", "")).strip()

    @property
    def is_chosen(self) -> bool:
        """Whether a model is chosen or typed; in a template, ``form.model`` is the field."""
        return bool(self.model)

    @property
    def unload_ids(self) -> tuple[int, ...]:
        """The loaded models to take out first."""
        if not self.is_swap:
            return ()
        return tuple(pk for value in self.data.getlist("unload") if (pk := row_id(value)))

    @property
    def has_endpoints(self) -> bool:
        """Whether any server is in the list, were it away."""
        return Endpoint.objects.exists()

    @property
    def loaded_here(self) -> LoadedModel | None:
        """The model as the endpoint has it in memory already."""
        loaded = self.endpoint.loaded_models.all() if self.endpoint and not self.is_swap else ()
        return next((row for row in loaded if row.name == self.model), None)

    def options(self) -> LoadOptions:
        """The options. Raises ``RequestRefused`` with the fields at fault."""
        return parse_options({name: self.data.get(name) for name in self.option_fields()})

    def option_fields(self) -> list[str]:
        """The options that the endpoint can honour, by the names of their fields; a pin is Berth's own."""
        honoured = {*(self.endpoint.load_options if self.endpoint else ()), "pinned"}
        return [name for name in OPTION_FIELDS if {"keep_alive": "keep_alive_seconds"}.get(name, name) in honoured]

    def main_options(self) -> list[forms.BoundField]:
        """The bound fields that are always shown."""
        return [self[name] for name in self.option_fields() if name in MAIN_OPTIONS]

    def further_options(self) -> list[forms.BoundField]:
        """The bound fields behind "More options"."""
        asked = [self[REQUESTS]] if REQUESTS in self.fields else []
        return asked + [self[name] for name in self.option_fields() if name not in MAIN_OPTIONS]

    @property
    def requests_per_hour(self) -> str:
        """How often the model is asked, as typed."""
        return str(self.data.get(REQUESTS, "")) if REQUESTS in self.fields else ""

    @property
    def has_further(self) -> bool:
        """Whether a further option was given or is at fault, so that they are to be shown at once."""
        return any(field.errors or field.value() for field in self.further_options())

    def suggest(self, settings: LoadSettings) -> None:
        """Say in the empty fields what the server would choose."""
        chosen = {
            "context_length": settings.context_length,
            "parallel": settings.parallel,
            "gpu_layers": settings.gpu_layers,
            "batch": settings.batch,
        }
        for name, value in chosen.items():
            if name in self.fields and value is not None:
                self.fields[name].widget.attrs["placeholder"] = f"auto: {value:,}"

    def refuse(self, refused: RequestRefused) -> None:
        """Show why beside the fields at fault, or above them all."""
        self.is_valid()
        for name, message in refused.errors.items():
            self.add_error(name if name in self.fields else None, message)
        if not refused.errors and not refused.preview:
            self.add_error(None, refused.message)

    def _names(self) -> list[str]:
        installed = Installation.objects.filter(endpoint__in=_endpoints()).order_by("name")
        return list(installed.values_list("name", flat=True).distinct()[: LISTED_MODELS + 1])

    def _choose(self) -> None:
        wanted = str(self.data.get("endpoint", ""))
        having = self._having()
        self.free_bytes = _free_bytes(having)
        having.sort(key=lambda endpoint: (self._suits_badly(endpoint), -self._free(endpoint)))
        chosen = [endpoint for endpoint in having if str(endpoint.pk) == wanted] or having
        self.endpoint = chosen[0] if chosen else None
        self.data["endpoint"] = str(self.endpoint.pk) if self.endpoint else ""
        self.having = having

    def _having(self) -> list[Endpoint]:
        """The endpoints that have the model; a swap may begin with what is to go."""
        if self.model:
            return list(_endpoints().filter(installations__name=self.model.replace("\x00", "")).distinct())
        return list(_endpoints()) if self.is_swap else []

    def _suits_badly(self, endpoint: Endpoint) -> bool:
        """A swap wants something to unload, a load a place where the model is not loaded already."""
        loaded = [row.name for row in endpoint.loaded_models.all()]
        return not loaded if self.is_swap else self.model in loaded

    def _add_fields(self) -> None:
        self.fields["model"] = self._model_field()
        self.fields["endpoint"] = pick("Where", [(str(row.pk), self._where(row)) for row in self.having])
        if self.is_swap:
            self.fields["unload"] = self._unload_field()
        for name in self.option_fields():
            self.fields[name] = self._gpu_field() if name == "gpu" else OPTION_FIELDS[name]()
        if "keep_alive" in self.fields:
            self.fields[REQUESTS] = requests_field()

    def _free(self, endpoint: Endpoint) -> int:
        return self.free_bytes.get(endpoint.host_id, 0)

    def _where(self, endpoint: Endpoint) -> str:
        free = f" · {in_bytes(self._free(endpoint))} free" if endpoint.host_id in self.free_bytes else ""
        return f"{endpoint.host.name} · {endpoint.name}{free}"

    def _model_field(self) -> forms.CharField:
        if len(self.names) > LISTED_MODELS:
            widget = forms.TextInput(attrs={"list": "model-names", "autocomplete": "off", "spellcheck": "false"})
            return forms.CharField(label="Model", required=False, widget=widget)
        known = self.names if self.model in self.names or not self.model else [self.model, *self.names]
        short = Counter(short_name(name) for name in known)
        words = [(name, short_name(name) if short[short_name(name)] == 1 else name) for name in known]
        return pick("Model", [("", "Choose a model…"), *words])

    def _gpu_field(self) -> forms.CharField:
        gpus = Gpu.objects.filter(host=self.endpoint.host_id, present=True) if self.endpoint else Gpu.objects.none()
        return pick("GPU", [("", "server's choice"), *((gpu.uuid, f"GPU {gpu.index} · {gpu.name}") for gpu in gpus)])

    def _unload_field(self) -> forms.MultipleChoiceField:
        rows = self.endpoint.loaded_models.all() if self.endpoint else ()
        choices = [(str(row.pk), short_name(row.name)) for row in rows]
        return forms.MultipleChoiceField(
            label="Unload first", required=False, choices=choices, widget=forms.CheckboxSelectMultiple
        )


def _endpoints() -> QuerySet[Endpoint]:
    """Those that are online and can load."""
    able = [pk for pk, offered in Endpoint.objects.values_list("pk", "capabilities") if Capability.LOAD in offered]
    online = Endpoint.objects.filter(pk__in=able, state=Endpoint.State.ONLINE)
    return online.select_related("host").prefetch_related("loaded_models")


def _free_bytes(endpoints: Iterable[Endpoint]) -> dict[int, int]:
    """The most that one GPU of each host has free, by the host's id."""
    newest = latest_by_host({endpoint.host_id for endpoint in endpoints})
    return {pk: max(gpu.free_bytes for gpu in latest.sample.gpus) for pk, latest in newest.items() if latest.sample.gpus}
