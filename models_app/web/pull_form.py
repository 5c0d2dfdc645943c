"""The form that downloads a model."""

from __future__ import annotations

from typing import Any

from django import forms

from models_app.backends.errors import InvalidName
from models_app.backends.names import MAX_NAME_LENGTH, check_name
from models_app.backends.protocol import Capability
from models_app.inventory.models import Endpoint
from models_app.web.typing_aids import PLAIN


class PullForm(forms.Form):
    """Which model, and to which endpoint."""

    model = forms.CharField(
        label="Model",
        strip=True,
        help_text="As in Ollama's library: llama3.2:1b, or someone/model:tag. Without a tag, latest.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    endpoint = forms.ChoiceField(label="To", help_text="Endpoints that can download models.")

    def __init__(self, *args: Any, endpoints: list[Endpoint], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._endpoints = {str(endpoint.pk): endpoint for endpoint in endpoints}
        self.fields["endpoint"].choices = [  # type: ignore[attr-defined]
            (key, f"{endpoint.name} · {endpoint.host.name}") for key, endpoint in self._endpoints.items()
        ]

    def clean_model(self) -> str:
        """The name, if any endpoint could mean something by it."""
        name: str = self.cleaned_data["model"]
        if len(name) > MAX_NAME_LENGTH:
            raise forms.ValidationError(f"The name is too long: {len(name)} characters, at most {MAX_NAME_LENGTH}.")
        try:
            return check_name(name)
        except InvalidName as error:
            raise forms.ValidationError(error.message) from None

    def clean_endpoint(self) -> Endpoint:
        """The endpoint itself."""
        return self._endpoints[self.cleaned_data["endpoint"]]


def able_to_pull() -> list[Endpoint]:
    """The endpoints that can download models, those that answer first."""
    rows = Endpoint.objects.select_related("host")
    able = [endpoint for endpoint in rows if Capability.PULL in endpoint.capabilities]
    return sorted(able, key=lambda endpoint: endpoint.state != Endpoint.State.ONLINE)
