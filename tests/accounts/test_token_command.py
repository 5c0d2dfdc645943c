"""``manage.py token`` and ``manage.py resetadmin``, as a person at a terminal uses them."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from models_app.accounts.models import ApiToken
from models_app.accounts.tokens import find_token, may_write


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def test_create_prints_the_token_and_nothing_else(admin):
    secret = run("token", "create", "night batch", "--scope", "write")
    token = find_token(secret)
    assert token is not None
    assert (token.name, token.user) == ("night batch", admin)
    assert may_write(token)


def test_a_token_reads_only_unless_it_was_asked_to_write(admin):
    assert not may_write(find_token(run("token", "create", "ci")))


def test_a_token_can_be_made_for_somebody_else_and_for_some_days(admin, member):
    token = find_token(run("token", "create", "ci", "--user", "max", "--days", "30"))
    assert token.user == member
    assert (token.expires_at - token.created_at).days in (29, 30)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--user", "nobody"], "no active user"),
        (["--user", "max", "--scope", "write"], "Only admins"),
        (["--days", "0"], "1 to 3650 days"),
        (["--days", "soon"], "invalid"),
        (["--scope", "everything"], "invalid choice"),
    ],
)
def test_what_cannot_be_made_is_said(admin, member, arguments, why):
    with pytest.raises(CommandError, match=why):
        run("token", "create", "ci", *arguments)
    assert not ApiToken.objects.exists()


def test_without_an_admin_the_command_says_how_to_get_one(db):
    with pytest.raises(CommandError, match=r"no admin yet: `manage\.py resetadmin`"):
        run("token", "create", "ci")


def test_list_shows_what_tells_tokens_apart_and_no_secret(admin):
    secret = run("token", "create", "night batch")
    listing = run("token", "list")
    assert "night batch" in listing
    assert "active" in listing
    assert secret not in listing


def test_revoke_takes_the_beginning_of_a_token(admin):
    secret = run("token", "create", "ci")
    run("token", "revoke", secret[:12])
    assert find_token(secret) is None


def test_revoke_takes_a_whole_token_that_was_found_where_it_should_not_be(admin):
    secret = run("token", "create", "ci")
    run("token", "revoke", secret)
    assert find_token(secret) is None


def test_revoke_does_not_repeat_what_may_be_a_secret(admin):
    secret = run("token", "create", "ci")
    with pytest.raises(CommandError) as refused:
        run("token", "revoke", secret[:-1])
    assert secret[12:-1] not in str(refused.value)


def test_list_tells_what_has_expired(admin):
    run("token", "create", "ci", "--days", "1")
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "expired" in run("token", "list")


def test_revoke_refuses_to_guess(admin):
    first, second = run("token", "create", "one"), run("token", "create", "two")
    with pytest.raises(CommandError, match="More than one"):
        run("token", "revoke", "berth_")
    with pytest.raises(CommandError, match="No active token"):
        run("token", "revoke", "berth_nothing")
    assert find_token(first)
    assert find_token(second)


def test_resetadmin_prints_a_password_that_works(admin):
    printed = run("resetadmin", "ada")
    password = printed.splitlines()[0].rpartition(" ")[2]
    assert authenticate(username="ada", password=password) == admin
    assert User.objects.count() == 1


def test_resetadmin_refuses_a_name_that_no_user_can_have(db):
    with pytest.raises(CommandError, match="150 characters"):
        run("resetadmin", "x" * 151)
    assert not User.objects.exists()
