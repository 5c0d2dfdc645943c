"""One's own API tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Via, actor
from models_app.accounts.tokens import create_token, find_token, may_write

TOKENS = "/account/tokens/"


def make(client, name="night batch", scope="read", days="90"):
    return client.post(TOKENS, {"name": name, "scope": scope, "days": days})


def token_of(user):
    return create_token(actor(user, Via.WEB), user, "ci", ApiToken.Scope.READ)[0]


def test_visitors_are_sent_to_the_login(client, db):
    assert client.get(TOKENS).url.startswith(reverse("login"))


def test_a_token_is_shown_once_and_works(as_admin):
    answer = make(as_admin, scope="write")
    secret = answer.context["secret"]
    assert may_write(find_token(secret))
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    again = as_admin.get(TOKENS).content.decode()
    assert secret not in again
    assert "night batch" in again


def test_the_expiry_is_as_chosen(as_admin):
    make(as_admin, days="30")
    make(as_admin, days="")
    for_ever, month = ApiToken.objects.all()
    assert for_ever.expires_at is None
    assert month.expires_at - timezone.now() > timedelta(days=29)


def test_a_member_may_make_a_token_that_reads_only(as_member):
    assert make(as_member).context["secret"]
    refused = make(as_member, scope="write")
    assert refused.status_code == 422
    assert "Select a valid choice" in refused.content.decode()
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize("typed", [{"name": ""}, {"name": "x" * 81}, {"scope": "all"}, {"days": "1000000"}, {"days": "x"}])
def test_a_bad_entry_is_explained_and_makes_nothing(as_admin, typed):
    assert make(as_admin, **typed).status_code == 422
    assert not ApiToken.objects.exists()


def test_what_was_typed_comes_back(as_admin):
    shown = make(as_admin, name="my script", days="x").content.decode()
    assert 'value="my script"' in shown


def test_revoking_asks_first_and_then_ends_the_token(as_admin, admin):
    token = token_of(admin)
    address = reverse("token_revoke", args=[token.pk])
    assert "It was never used." in as_admin.get(address).content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None
    assert as_admin.post(address).url == TOKENS
    token.refresh_from_db()
    assert token.revoked_at
    assert "revoked" in as_admin.get(TOKENS).content.decode()


def test_a_member_does_not_see_or_revoke_anybody_elses_token(as_member, admin):
    token = token_of(admin)
    assert token.prefix not in as_member.get(TOKENS).content.decode()
    assert as_member.post(reverse("token_revoke", args=[token.pk])).status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_an_expired_token_is_shown_as_such(as_admin, admin):
    token = token_of(admin)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(days=1))
    assert "expired" in as_admin.get(TOKENS).content.decode()


def test_the_empty_list_says_what_tokens_are_for(as_member):
    assert "No tokens yet" in as_member.get(TOKENS).content.decode()
