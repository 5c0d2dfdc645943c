"""The form for the settings of a server that Berth starts. It keeps what was typed; the services judge it."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from django import forms

from models_app.agent.supervision.spec import ServerSpec, Spec
from models_app.inventory.models import Gpu, Host
from models_app.operations.refusals import RequestRefused
from models_app.operations.server_specs import OPTIONS, SPEC_NAMES, parse_spec
from models_app.web.host_forms import RefusableForm
from models_app.web.option_fields import OPTION_FIELDS, number, pick
from models_app.web.typing_aids import PLAIN


class SpecForm(RefusableForm):
    """A form from which a spec is read."""

    @abstractmethod
    def spec(self) -> Spec:
        """What the form says. Raises ``RequestRefused``."""

    def chosen_gpus(self) -> Sequence[str]:
        """The UUIDs of what was ticked; none where there is nothing to tick."""
        data: Any = self.data if self.is_bound else self.initial
        chosen = data.getlist("gpus") if hasattr(data, "getlist") else data.get("gpus", ())
        return chosen if "gpus" in self.fields else ()

    def refuse_request(self, refused: RequestRefused) -> None:
        """Show each sentence beside its field."""
        self.is_valid()
        for name, message in (refused.errors or {"": refused.message}).items():
            self.add_error(name if name in self.fields else None, message)


def gpus_field(host: Host) -> dict[str, forms.Field]:
    """A box for each GPU of the host; nothing where there is none."""
    gpus = [(gpu.uuid, f"GPU {gpu.index} · {gpu.name}") for gpu in Gpu.objects.filter(host=host, present=True)]
    field = forms.MultipleChoiceField(label="GPUs", required=False, choices=gpus, widget=forms.CheckboxSelectMultiple)
    return {"gpus": field} if gpus else {}


class ServerForm(SpecForm):
    """Which file, on which GPUs, with which settings. ``binaries`` are the allow-list's names of programs."""

    endpoint_name = forms.CharField(
        label="Name of the server",
        required=False,
        help_text="Empty for that of the model.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    name = forms.CharField(
        label="Name of the model", help_text="As its clients call it.", widget=forms.TextInput(attrs=PLAIN)
    )
    model = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, host: Host, binaries: Sequence[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(binaries) > 1:
            self.fields["binary"] = pick("Program", [(name, name) for name in binaries])
        self.fields |= gpus_field(host)
        self.fields |= {name: OPTION_FIELDS[name]() for name in OPTIONS}
        self.fields["threads"] = number("CPU threads", "server's choice")
        self.fields["extra"] = forms.CharField(
            label="Further flags",
            required=False,
            help_text="Only those that the allow-list of the machine names, as on a command line.",
            widget=forms.TextInput(attrs=PLAIN | {"placeholder": "--mlock"}),
        )

    def spec(self) -> ServerSpec:
        """What the form says. Raises ``RequestRefused``."""
        data: Any = self.data if self.is_bound else self.initial
        raw = {name: data.get(name) for name in SPEC_NAMES if name != "gpus"}
        return parse_spec(raw | {"gpus": self.chosen_gpus()})

    def settings_fields(self) -> list[forms.BoundField]:
        """Those that move memory or speed."""
        return [self[name] for name in (*OPTIONS, "threads")]


def initial_of(spec: ServerSpec) -> dict[str, Any]:
    """A spec as one would type it."""
    typed = {name: "" if value is None else value for name, value in spec.as_json().items()}
    switches = {name: {True: "on", False: "off", "": ""}[typed[name]] for name in ("flash_attention", "kv_offload")}
    return typed | switches | {"extra": shlex.join(spec.extra), "gpus": list(spec.gpus)}


def initial_for(path: str) -> dict[str, Any]:
    """A new server for a file: its model is called as the file."""
    return {"model": path, "name": PurePath(path).stem[:80]}
