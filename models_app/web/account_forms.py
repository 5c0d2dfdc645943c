"""Forms for people, passwords and tokens."""

from __future__ import annotations

from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Role
from models_app.web.typing_aids import PLAIN

MOST_PASSWORD_CHARACTERS = 200
ROLES = ((Role.MEMBER.value, "Member: sees everything"), (Role.ADMIN.value, "Admin: loads, unloads and manages"))
LIFETIMES = (("30", "30 days"), ("90", "90 days"), ("365", "One year"), ("", "Never"))


class NewUserForm(forms.Form):
    """Who is let in, and as what."""

    username = forms.CharField(
        label="Name",
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        widget=forms.TextInput(attrs=PLAIN),
    )
    role = forms.ChoiceField(choices=ROLES, initial=Role.MEMBER.value)
    password = forms.CharField(
        required=False,
        strip=False,
        max_length=MOST_PASSWORD_CHARACTERS,
        help_text="Leave it empty to have one generated and shown to you once.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class RoleForm(forms.Form):
    """Another role."""

    role = forms.ChoiceField(choices=ROLES)


class ChangePasswordForm(forms.Form):
    """One's own password."""

    current = forms.CharField(
        label="Current password",
        strip=False,
        max_length=MOST_PASSWORD_CHARACTERS,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        label="New password",
        strip=False,
        max_length=MOST_PASSWORD_CHARACTERS,
        help_text="At least eight characters; a sentence is easier to remember than a riddle.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="New password again",
        strip=False,
        max_length=MOST_PASSWORD_CHARACTERS,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_again(self) -> str:
        """The second entry, if it is the first one again."""
        again: str = self.cleaned_data["again"]
        if self.cleaned_data.get("new", again) != again:
            raise forms.ValidationError("The two new passwords differ.")
        return again


class NewTokenForm(forms.Form):
    """What a token is for, what it may do, and for how long."""

    name = forms.CharField(
        max_length=80,
        help_text="What it is for: the script or the machine that will use it.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scope = forms.ChoiceField(label="It may", choices=ApiToken.Scope.choices, initial=ApiToken.Scope.READ.value)
    days = forms.ChoiceField(label="It expires after", choices=LIFETIMES, initial="90", required=False)

    def __init__(self, *args: object, may_write: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if not may_write:
            self.fields["scope"] = forms.ChoiceField(
                label="It may",
                choices=[(ApiToken.Scope.READ.value, ApiToken.Scope.READ.label)],
                help_text="Only admins may have a token that writes.",
            )
