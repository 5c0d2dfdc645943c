"""One's own account: the password."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

ACCOUNT = "/account/"
OLD, NEW = "a long pass phrase", "an even longer phrase"


def change(client: Client, current: str = OLD, new: str = NEW, again: str = NEW):
    return client.post(ACCOUNT, {"current": current, "new": new, "again": again})


def test_visitors_are_sent_to_the_login(client, db):
    assert client.get(ACCOUNT).url.startswith(reverse("login"))


def test_a_changed_password_keeps_this_browser_and_ends_the_others(as_member, member):
    other = Client()
    other.force_login(member)
    assert change(as_member).url == ACCOUNT
    assert authenticate(username="max", password=NEW)
    assert "Your password is changed" in as_member.get(ACCOUNT).content.decode()
    assert other.get(ACCOUNT).status_code == 302


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"current": "wrong"}, "This is not your current password."),
        ({"again": "something else entirely"}, "The two new passwords differ."),
        ({"new": "short", "again": "short"}, "too short"),
        ({"new": "", "again": ""}, "This field is required."),
        ({"new": "x" * 5000, "again": "x" * 5000}, "at most 200 characters"),
    ],
)
def test_a_mistake_is_explained_and_changes_nothing(as_member, typed, sentence):
    answer = change(as_member, **typed)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert authenticate(username="max", password=OLD)


def test_guesses_at_the_current_password_are_limited(as_member, settings):
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    cache.clear()
    for _ in range(3):
        assert "not your current password" in change(as_member, current="a guess").content.decode()
    assert "Too many wrong passwords" in change(as_member).content.decode()
    assert authenticate(username="max", password=OLD)


def test_only_wrong_passwords_count(as_member, settings):
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    cache.clear()
    for _ in range(4):
        assert "too short" in change(as_member, new="short", again="short").content.decode()
    assert change(as_member).url == ACCOUNT


def test_no_password_comes_back_in_a_page(as_member):
    shown = change(as_member, again="a different phrase").content.decode()
    assert OLD not in shown
    assert NEW not in shown


def test_the_page_says_what_the_role_may_do(as_admin, as_member):
    assert "Member: you see everything" in as_member.get(ACCOUNT).content.decode()
    assert "Admin: you load" in as_admin.get(ACCOUNT).content.decode()


def test_a_password_manager_is_told_whose_password_it_is(as_member, member):
    page = as_member.get("/account/").content.decode()
    assert f'value="{member.username}" autocomplete="username" readonly hidden' in page
