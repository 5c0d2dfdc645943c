"""The login page, with a limit on failed attempts."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpResponse

from models_app.accounts import audit
from models_app.accounts.roles import Via, actor, client_address
from models_app.accounts.throttle import Throttled, begin_attempt, forgive_attempt

log = logging.getLogger(__name__)


class ThrottledForm(AuthenticationForm):
    """Django's own form, asked through the throttle."""

    def clean(self) -> dict[str, Any]:
        """Refuse without looking at the password once there were too many failures."""
        name = self.cleaned_data.get("username", "")
        address = client_address(self.request) if self.request else ""
        try:
            begin_attempt(name, address)
        except Throttled as throttled:
            log.warning("a login from %s was refused: too many wrong passwords", address)
            self.add_error(None, str(throttled))
            return self.cleaned_data
        try:
            cleaned = super().clean()
        except ValidationError:
            log.warning("a login from %s failed: %s", address, _whose(name))
            raise
        forgive_attempt(name, address)
        return cleaned


class LoginView(views.LoginView):
    """``/login/``."""

    form_class = ThrottledForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Log in, and say so to the audit trail with the address."""
        user = form.get_user()
        audit.record(actor(user, Via.WEB, client_address(self.request)), "account.log_in", user)
        return super().form_valid(form)


def _whose(name: str) -> str:
    """A name that nobody has is not written down: people type their password there."""
    return f"{name}'s password was wrong" if User.objects.filter(username=name).exists() else "nobody has that name"
