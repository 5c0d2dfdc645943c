"""The form that changes a keep-alive. It keeps what was typed; ``operations`` judges it."""

from __future__ import annotations

from django import forms


class KeepAliveForm(forms.Form):
    """How long an idle model stays."""

    keep_alive = forms.CharField(
        label="Stays when idle for",
        required=False,
        help_text="A number of seconds, a duration such as 10m or 1h30m, or forever.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "keep-alives"}),
    )
