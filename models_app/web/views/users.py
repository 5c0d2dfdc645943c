"""Users and their roles, for admins."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.accounts import users
from models_app.accounts.roles import Role
from models_app.accounts.users import AccountRefused
from models_app.web.access import admin_required
from models_app.web.account_forms import NewUserForm, RoleForm
from models_app.web.confirm import Question, ask
from models_app.web.listing import Filter, Listing
from models_app.web.people import acting, signed_in

LISTING = Listing[User](
    sorts={"username": "username", "role": "role", "last_login": "last_login", "date_joined": "date_joined"},
    default_sort="username",
    searches=("username",),
    filters={"role": "role", "active": "is_active"},
)
ROLE = Filter("role", "Role", ((Role.ADMIN.value, "Admins"), (Role.MEMBER.value, "Members"), ("none", "Without a role")))
ACTIVE = Filter("active", "State", (("True", "Active"), ("False", "Deactivated")))


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Everybody, with role, state and last login."""
    return render(request, "users/index.html", {"listed": LISTING.page(request, _people(), ROLE, ACTIVE)})


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Add somebody. A generated password is in the answer to the ``POST`` and nowhere else."""
    form = NewUserForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            user, password = users.add_user(acting(request), chosen["username"], Role(chosen["role"]), chosen["password"])
        except AccountRefused as refused:
            form.add_error(refused.field or None, refused.message)
        else:
            if password:
                return render(request, "users/password.html", {"person": user, "password": password, "is_new": True})
            messages.success(request, f"{user.username} may log in now.")
            return redirect("user_detail", user.pk)
    return render(request, "users/new.html", {"form": form}, status=422 if form.errors else 200)


@admin_required
@require_safe
def detail(request: HttpRequest, user_id: int) -> HttpResponse:
    """One user: role, access, password, tokens."""
    person = get_object_or_404(_people(), pk=user_id)
    context = {
        "person": person,
        "form": RoleForm(initial={"role": person.role}),  # type: ignore[attr-defined]
        "tokens": person.api_tokens.all(),
        "now": timezone.now(),
        "is_self": person.pk == signed_in(request).pk,
    }
    return render(request, "users/detail.html", context)


@admin_required
@require_POST
def change_role(request: HttpRequest, user_id: int) -> HttpResponse:
    """Give the user another role."""
    person = get_object_or_404(User, pk=user_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "There is no such role.")
        return redirect("user_detail", user_id)
    try:
        users.change_role(acting(request), person, Role(form.cleaned_data["role"]))
    except AccountRefused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{person.username} is now {_with_article(form.cleaned_data['role'])}.")
    if person.pk == signed_in(request).pk and form.cleaned_data["role"] != Role.ADMIN:
        return redirect("fleet")
    return redirect("user_detail", user_id)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def deactivate(request: HttpRequest, user_id: int) -> HttpResponse:
    """Let the user in no longer, once confirmed."""
    person = get_object_or_404(User, pk=user_id)
    if request.method != "POST":
        return ask(request, _deactivation(person))
    try:
        users.set_active(acting(request), person, False)
    except AccountRefused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{person.username} can no longer log in.")
    return redirect("login" if person.pk == signed_in(request).pk and not person.is_active else "users")


@admin_required
@require_POST
def reactivate(request: HttpRequest, user_id: int) -> HttpResponse:
    """Let the user in again."""
    person = get_object_or_404(User, pk=user_id)
    users.set_active(acting(request), person, True)
    messages.success(request, f"{person.username} may log in again.")
    return redirect("user_detail", user_id)


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reset_password(request: HttpRequest, user_id: int) -> HttpResponse:
    """A new generated password, once confirmed; it is in the answer to the ``POST`` and nowhere else."""
    person = get_object_or_404(User, pk=user_id)
    if request.method != "POST":
        return ask(request, _password_reset(person))
    password = users.reset_password(acting(request), person)
    return render(request, "users/password.html", {"person": person, "password": password})


def _people() -> QuerySet[User]:
    groups = User.groups.through.objects.filter(user_id=OuterRef("pk"))
    role = Case(
        When(Q(is_superuser=True) | Exists(groups.filter(group__name=Role.ADMIN)), then=Value(Role.ADMIN.value)),
        When(Exists(groups.filter(group__name=Role.MEMBER)), then=Value(Role.MEMBER.value)),
        default=Value("none"),
    )
    live_tokens = Count("api_tokens", filter=Q(api_tokens__revoked_at=None))
    return User.objects.annotate(role=role, token_count=live_tokens)


def _deactivation(person: User) -> Question:
    return Question(
        title=f"Deactivate {person.username}?",
        consequences=(
            "Their browser sessions, live pages and API tokens stop working at once.",
            "Their operations go on, and what they did stays in the audit trail.",
            "You can let them in again at any time.",
        ),
        action="Deactivate",
        back=reverse("user_detail", args=[person.pk]),
    )


def _password_reset(person: User) -> Question:
    return Question(
        title=f"Reset the password of {person.username}?",
        consequences=(
            "A new password is generated and shown to you once; the old one stops working.",
            "They are logged out everywhere. Their API tokens keep working.",
        ),
        action="Reset password",
        back=reverse("user_detail", args=[person.pk]),
    )


def _with_article(role: str) -> str:
    return "an admin" if role == Role.ADMIN else "a member"
