"""Forms for hosts and endpoints. The services judge what was typed; the forms keep it."""

from __future__ import annotations

from typing import Any

from django import forms

from controlpanel.encrypted import Unreadable
from models_app.backends.protocol import BackendKind
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Endpoint
from models_app.web.typing_aids import PLAIN, UNREADABLE

KINDS = (("", "Find out"), (BackendKind.OLLAMA.value, "Ollama"), (BackendKind.LLAMA_SERVER.value, "llama-server"))


def _tags() -> forms.CharField:
    help_text = "Separated by commas: production, shared."
    return forms.CharField(required=False, help_text=help_text, widget=forms.TextInput(attrs={"autocomplete": "off"}))


class RefusableForm(forms.Form):
    """A form that shows beside its fields why a service refused what it says."""

    def refuse(self, refused: InventoryRefused, **called: str) -> None:
        """Show the sentence, and what to do about it, beside the field at fault or above them all.

        ``called`` gives the form's name of a field that the service calls otherwise.
        """
        field = called.get(refused.field, refused.field)
        self.add_error(field if field in self.fields else None, f"{refused.message} {refused.hint}".strip())

    def chosen_tags(self) -> list[str]:
        """The tags as they were typed, one by one."""
        return [tag.strip() for tag in str(self.cleaned_data.get("tags", "")).split(",")]


class HostForm(RefusableForm):
    """A host's name and tags."""

    name = forms.CharField(widget=forms.TextInput(attrs=PLAIN))
    tags = _tags()


class EndpointForm(RefusableForm):
    """Where a server listens, and the key that it wants. A key is written, never shown."""

    url = forms.CharField(
        label="Address",
        help_text="As in http://gpu-1:11434. Ollama listens on 11434, llama-server on its --port.",
        widget=forms.TextInput(attrs=PLAIN | {"inputmode": "url", "placeholder": "http://gpu-1:11434"}),
    )
    kind = forms.ChoiceField(label="Program", choices=KINDS, required=False)
    api_key = forms.CharField(
        label="API key",
        required=False,
        help_text="Only where the server asks for one (llama-server's --api-key). It is stored and never shown again.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    endpoint_name = forms.CharField(
        label="Name of the endpoint",
        required=False,
        help_text="Empty for one made from the program and the host.",
        widget=forms.TextInput(attrs=PLAIN),
    )

    def clean_url(self) -> str:
        """The address; people type ``gpu-1:11434``, as they set OLLAMA_HOST."""
        typed = str(self.cleaned_data["url"]).strip()
        return typed if "://" in typed else f"http://{typed}"

    @property
    def chosen_kind(self) -> BackendKind | None:
        """The program, where one was named."""
        kind = self.cleaned_data.get("kind", "")
        return BackendKind(kind) if kind else None


class NewHostForm(EndpointForm):
    """A host together with its first endpoint."""

    name = forms.CharField(label="Name of the host", widget=forms.TextInput(attrs=PLAIN | {"placeholder": "gpu-1"}))
    tags = _tags()
    field_order = ("name", "tags", "url", "kind", "api_key", "endpoint_name")


class EndpointChangeForm(EndpointForm):
    """Changes to an endpoint. An empty key leaves the stored one as it is."""

    forget_key = forms.BooleanField(label="Forget the stored key", required=False)
    field_order = ("endpoint_name", "url", "api_key", "forget_key")

    def __init__(self, *args: Any, endpoint: Endpoint, **kwargs: Any) -> None:
        initial = {"endpoint_name": endpoint.name, "url": endpoint.url}
        super().__init__(*args, **kwargs | {"initial": initial})
        del self.fields["kind"]
        self.fields["endpoint_name"].required = True
        self.fields["endpoint_name"].help_text = ""
        if isinstance(endpoint.api_key, Unreadable):
            self.fields["api_key"].help_text = UNREADABLE
        elif endpoint.api_key:
            self.fields["api_key"].help_text = "One is stored. Leave this empty to keep it, or type another."
        else:
            del self.fields["forget_key"]

    @property
    def new_key(self) -> str | None:
        """The key to store; ``None`` leaves it as it is."""
        if self.cleaned_data.get("forget_key"):
            return ""
        return self.cleaned_data["api_key"] or None
