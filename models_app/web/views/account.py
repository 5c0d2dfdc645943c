"""One's own password and one's own API tokens."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from models_app.accounts import users
from models_app.accounts.models import ApiToken
from models_app.accounts.roles import client_address, is_admin
from models_app.accounts.throttle import Throttled, begin_attempt, forgive_attempt
from models_app.accounts.tokens import TokenRefused, create_token, revoke_token
from models_app.accounts.users import AccountRefused
from models_app.web.access import member_required
from models_app.web.account_forms import ChangePasswordForm, NewTokenForm
from models_app.web.confirm import Question, ask
from models_app.web.people import acting, signed_in


@member_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Who one is, and a new password."""
    form = ChangePasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _change_password(request, form):
        return redirect("account")
    return render(request, "account/account.html", {"form": form}, status=422 if form.errors else 200)


def _change_password(request: HttpRequest, form: ChangePasswordForm) -> bool:
    """Guesses at the current password count as those at the login: a browser left open gives nobody more of them."""
    user = signed_in(request)
    attempt = (user.get_username(), client_address(request))
    try:
        begin_attempt(*attempt)
        users.change_password(acting(request), user, form.cleaned_data["current"], form.cleaned_data["new"])
    except Throttled as throttled:
        form.add_error("current", str(throttled))
        return False
    except AccountRefused as refused:
        if refused.field != "current":
            forgive_attempt(*attempt)
        form.add_error(refused.field, refused.message)
        return False
    forgive_attempt(*attempt)
    update_session_auth_hash(request, user)
    messages.success(request, "Your password is changed. Your other browsers are logged out.")
    return True


@member_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """One's tokens, and a form for a new one. Its secret is in the answer to the ``POST`` and nowhere else."""
    may_write = is_admin(request.user)
    form = NewTokenForm(request.POST or None, may_write=may_write)
    made, secret = None, ""
    if request.method == "POST" and form.is_valid():
        made, secret = _make_token(request, form)
        form = NewTokenForm(may_write=may_write) if secret else form
    context = {
        "form": form,
        "made": made,
        "secret": secret,
        "tokens": signed_in(request).api_tokens.all(),
        "now": timezone.now(),
    }
    return render(request, "account/tokens.html", context, status=422 if form.errors else 200)


def _make_token(request: HttpRequest, form: NewTokenForm) -> tuple[ApiToken | None, str]:
    chosen = form.cleaned_data
    try:
        return create_token(
            acting(request), signed_in(request), chosen["name"], ApiToken.Scope(chosen["scope"]), _expiry(chosen["days"])
        )
    except TokenRefused as refused:
        form.add_error(None, str(refused))
        return None, ""


def _expiry(days: str) -> datetime | None:
    return timezone.now() + timedelta(days=int(days)) if days else None


@member_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """End a token, once confirmed: one's own, or as an admin anybody's."""
    user = signed_in(request)
    token = get_object_or_404(_revocable(user), pk=token_id)
    back = reverse("tokens") if token.user_id == user.pk else reverse("user_detail", args=[token.user_id])
    if request.method != "POST":
        return ask(request, _revocation(token, back))
    revoke_token(acting(request), token)
    messages.success(request, f"The token “{token.name}” no longer works.")
    return redirect(back)


def _revocable(user: User) -> QuerySet[ApiToken]:
    rows = ApiToken.objects.select_related("user").filter(revoked_at=None)
    return rows if is_admin(user) else rows.filter(user=user)


def _revocation(token: ApiToken, back: str) -> Question:
    used = f"It was last used {token.last_used_at:%Y-%m-%d %H:%M} UTC." if token.last_used_at else "It was never used."
    return Question(
        title=f"Revoke the token “{token.name}”?",
        consequences=(used, "Whatever uses it is refused from now on. This cannot be undone."),
        action="Revoke",
        back=back,
    )
