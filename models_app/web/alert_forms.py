"""Forms for alerts, their rules and their receivers. The services judge what was typed; the forms keep it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from controlpanel.encrypted import Unreadable
from models_app.alerts.delivery.models import Receiver
from models_app.alerts.delivery.receivers import Wanted, shown_address
from models_app.alerts.errors import AlertRefused
from models_app.alerts.rules.findings import Limits, Rule, Severity
from models_app.web.typing_aids import PLAIN, UNREADABLE

SPANS = (
    ("1", "1 hour"),
    ("8", "8 hours"),
    ("24", "1 day"),
    ("168", "1 week"),
    ("720", "30 days"),
    ("87600", "For good (ten years)"),
)


class AlertForm(forms.Form):
    """A form that shows beside its fields why a service refused what it says."""

    def refuse(self, refused: AlertRefused) -> None:
        """Show the sentence beside the field at fault, or above them all."""
        field = refused.field if refused.field in self.fields else None
        self.add_error(field, f"{refused.message} {refused.hint}".strip())


class MuteForm(AlertForm):
    """For how long, and why."""

    hours = forms.ChoiceField(label="For", choices=SPANS)
    reason = forms.CharField(
        label="Why",
        max_length=200,
        help_text="Others will read it: expected until Friday's maintenance.",
        widget=forms.TextInput(attrs=PLAIN),
    )

    @property
    def until(self) -> datetime:
        """The moment until which it is muted."""
        return timezone.now() + timedelta(hours=int(self.cleaned_data["hours"]))


class LimitsForm(AlertForm):
    """The limits of one rule."""

    is_on = forms.BooleanField(label="Watch for this", required=False)
    raise_at = forms.FloatField(label="Raise at")
    clear_at = forms.FloatField(
        label="Clear at", help_text="Below the limit above it, so that a value that trembles is quiet."
    )
    for_seconds = forms.FloatField(label="For how long, in seconds", help_text="It has to last this long, either way.")

    def __init__(self, *args: Any, rule: Rule, limits: Limits, **kwargs: Any) -> None:
        names = ("is_on", "raise_at", "clear_at", "for_seconds")
        kwargs["initial"] = {name: getattr(limits, name) for name in names}
        super().__init__(*args, **kwargs)
        unit = f" ({rule.unit})" if rule.unit else ""
        for name in ("raise_at", "clear_at"):
            self.fields[name].label = f"{self.fields[name].label}{unit}"
        for name in names[1:]:
            self.fields[name].widget.attrs |= {"step": "any", "min": "0"}

    @property
    def limits(self) -> Limits:
        """What was typed."""
        return Limits(**{name: self.cleaned_data[name] for name in ("raise_at", "clear_at", "for_seconds", "is_on")})


class ReceiverForm(AlertForm):
    """Who is told of alerts, and of which. A secret is written, never shown."""

    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs=PLAIN))
    kind = forms.ChoiceField(label="By", choices=Receiver.Kind.choices)
    address = forms.CharField(
        label="Address",
        max_length=255,
        help_text="For a webhook https://host/path, without redirects; for e-mail ops@example.org.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    least_severity = forms.ChoiceField(
        label="Tell of",
        choices=[
            (Severity.CRITICAL.value, "Critical only"),
            (Severity.WARNING.value, "Warnings and worse"),
            (Severity.NOTICE.value, "Everything"),
        ],
        initial=Severity.WARNING.value,
    )
    secret = forms.CharField(
        label="Secret",
        required=False,
        help_text="Signs what is posted. Empty for one that Berth makes and shows once.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    is_on = forms.BooleanField(label="Send to it", required=False, initial=True)

    def __init__(self, *args: Any, receiver: Receiver | None = None, **kwargs: Any) -> None:
        if receiver is not None:
            names = ("name", "kind", "least_severity", "is_on")
            kwargs["initial"] = {name: getattr(receiver, name) for name in names}
        super().__init__(*args, **kwargs)
        if not settings.EMAIL_HOST:
            self.fields["kind"].help_text = "E-mail needs a mail server: set BERTH_EMAIL_HOST."
        if receiver is not None:
            self.fields["address"].required = False
            self.fields["address"].help_text = f"One is stored: {shown_address(receiver)}. Leave this empty to keep it."
            keeps = "Leave this empty to keep the stored one, or type another."
            self.fields["secret"].help_text = UNREADABLE if isinstance(receiver.secret, Unreadable) else keeps

    @property
    def wanted(self) -> Wanted:
        """What was typed."""
        return Wanted(**self.cleaned_data)
