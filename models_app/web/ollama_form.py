"""The form for the settings of an Ollama server that Berth starts. It keeps what was typed; the services judge it."""

from __future__ import annotations

from typing import Any

from django import forms

from models_app.agent.managed import OllamaChoices
from models_app.agent.supervision.ollama import CACHE_TYPES, OllamaSpec
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Host
from models_app.operations.ollama_specs import OLLAMA_NAMES, parse_ollama_spec
from models_app.web.option_fields import number, pick
from models_app.web.server_form import SpecForm, gpus_field
from models_app.web.typing_aids import PLAIN

SETTINGS = ("parallel", "context_length", "most_loaded", "keep_alive", "flash_attention", "kv_cache_type")


class OllamaForm(SpecForm):
    """Which GPUs, which folder of models, and how many models at once. ``choices`` are what the machine's owner allows."""

    endpoint_name = forms.CharField(
        label="Name of the server", max_length=80, widget=forms.TextInput(attrs=PLAIN | {"placeholder": "ollama-0"})
    )
    models = forms.CharField(label="Folder of its models", widget=forms.TextInput(attrs=PLAIN))

    def __init__(self, host: Host, choices: OllamaChoices, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["models"].help_text = f"In {' or '.join(choices.folders)}." if choices.folders else ""
        if len(choices.programs) > 1:
            self.fields["binary"] = pick("Program", [(name, name) for name in choices.programs])
        self.fields |= gpus_field(host)
        self.fields |= {
            "parallel": number("Requests at once", "server's choice"),
            "context_length": number("Context, tokens", "server's choice"),
            "most_loaded": number("Models at once", "server's choice"),
            "keep_alive": forms.CharField(
                label="Keep-alive",
                required=False,
                widget=forms.TextInput(attrs={"placeholder": "5m, -1 for ever", "autocomplete": "off"}),
            ),
            "flash_attention": pick("Flash attention", [("", "server's choice"), ("on", "on"), ("off", "off")]),
            "kv_cache_type": pick("KV cache type", [("", "server's choice"), *((name, name) for name in CACHE_TYPES)]),
        }

    def refuse(self, refused: InventoryRefused, **called: str) -> None:
        """The server's name is the only one."""
        super().refuse(refused, name="endpoint_name", **called)

    def spec(self) -> OllamaSpec:
        """What the form says. Raises ``RequestRefused``."""
        raw = {name: self.data.get(name) for name in OLLAMA_NAMES} | {"gpus": self.chosen_gpus()}
        return parse_ollama_spec(self.data.get("endpoint_name", "").strip(), raw)

    def settings_fields(self) -> list[forms.BoundField]:
        """Those that move memory or speed."""
        return [self[name] for name in SETTINGS]


def initial_of_ollama(spec: OllamaSpec) -> dict[str, Any]:
    """A spec as one would type it."""
    typed = {name: "" if value is None else value for name, value in spec.as_json().items()}
    return typed | {"flash_attention": {True: "on", False: "off", None: ""}[spec.flash_attention], "gpus": list(spec.gpus)}
