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
    requests_per_hour = forms.CharField(
        label="Requests an hour",
        required=False,
        help_text="About how often it is asked, to have a time advised.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
