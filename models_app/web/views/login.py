"""The login page, with a limit on failed attempts."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm

from models_app.accounts.throttle import Throttled, begin_attempt, forgive_attempt


class ThrottledForm(AuthenticationForm):
    """Django's own form, asked through the throttle."""

    def clean(self) -> dict[str, Any]:
        """Refuse without looking at the password once there were too many failures."""
        name = self.cleaned_data.get("username", "")
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        try:
            begin_attempt(name, address)
        except Throttled as throttled:
            self.add_error(None, str(throttled))
            return self.cleaned_data
        cleaned = super().clean()
        forgive_attempt(name, address)
        return cleaned


class LoginView(views.LoginView):
    """``/login/``."""

    form_class = ThrottledForm
    redirect_authenticated_user = True
