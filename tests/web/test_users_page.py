"""The pages of users and roles: for admins only, with and without JavaScript."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from models_app.accounts import tokens
from models_app.accounts.roles import Role, Via, actor, is_admin, set_role

PASSWORD = "a long pass phrase"


def addresses(user: User) -> list[str]:
    with_user = ("user_detail", "user_role", "user_deactivate", "user_reactivate", "user_password")
    return [reverse("users"), reverse("user_new"), *(reverse(name, args=[user.pk]) for name in with_user)]


def page(client: Client, address: str, **data: str) -> str:
    return client.get(address, data).content.decode()


def test_members_are_refused_everywhere(as_member, member):
    for address in addresses(member):
        assert as_member.get(address).status_code == 403
        assert as_member.post(address).status_code == 403


def test_visitors_are_sent_to_the_login(client, member):
    for address in addresses(member):
        assert client.get(address).url.startswith(reverse("login"))


def test_a_form_from_another_site_is_refused(admin, member):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)
    assert strict.post(reverse("user_role", args=[member.pk]), {"role": "admin"}).status_code == 403
    assert not is_admin(member)


def test_the_list_shows_everybody_with_role_and_state(as_admin, member):
    member.is_active = False
    member.save()
    shown = page(as_admin, reverse("users"))
    assert "ada" in shown
    assert "max" in shown
    assert "deactivated" in shown


def test_the_list_is_searched_filtered_and_sorted(as_admin, member):
    assert "max" not in page(as_admin, reverse("users"), q="ad").split('id="results"')[1]
    assert "ada</a>" not in page(as_admin, reverse("users"), role="member").split('id="results"')[1]
    descending = page(as_admin, reverse("users"), sort="-username").split('id="results"')[1]
    assert descending.index(">max</a>") < descending.index(">ada</a>")


def test_a_search_that_finds_nobody_says_so(as_admin):
    assert "Nothing matches" in page(as_admin, reverse("users"), q="zzz")


@pytest.mark.parametrize("query", ["page=0", "page=99999999", "page=x", "per_page=-1", "sort=password", "q=%00", "role=x"])
def test_no_query_breaks_the_list(as_admin, query):
    assert as_admin.get(f"{reverse('users')}?{query}").status_code == 200


def test_a_new_user_gets_a_generated_password_that_is_shown_once(as_admin):
    answer = as_admin.post(reverse("user_new"), {"username": "grace", "role": "member"})
    password = answer.context["password"]
    assert authenticate(username="grace", password=password)
    assert password in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert password not in page(as_admin, reverse("user_detail", args=[User.objects.get(username="grace").pk]))


def test_a_new_user_with_a_given_password_leads_to_their_page(as_admin):
    answer = as_admin.post(reverse("user_new"), {"username": "grace", "role": "admin", "password": PASSWORD})
    grace = User.objects.get(username="grace")
    assert answer.url == reverse("user_detail", args=[grace.pk])
    assert is_admin(grace)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"username": "ada", "role": "member"}, "There is a user “ada” already."),
        ({"username": "x" * 151, "role": "member"}, "at most 150 characters"),
        ({"username": "with space", "role": "member"}, "Enter a valid username"),
        ({"username": "grace", "role": "king"}, "Select a valid choice"),
        ({"username": "grace", "role": "member", "password": "short"}, "too short"),
        ({"username": "", "role": "member"}, "This field is required"),
    ],
)
def test_a_bad_entry_comes_back_with_its_reason_and_what_was_typed(as_admin, data, sentence):
    answer = as_admin.post(reverse("user_new"), data)
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in shown
    assert f'value="{data["username"]}"' in shown or not data["username"]
    assert User.objects.count() == 1


def test_a_role_is_changed_and_said(as_admin, member):
    answer = as_admin.post(reverse("user_role", args=[member.pk]), {"role": "admin"}, follow=True)
    assert "max is now an admin." in answer.content.decode()
    assert is_admin(member)


def test_the_last_admin_stays_one(as_admin, admin):
    for name, data in (("user_role", {"role": "member"}), ("user_deactivate", {"confirmed": "1"})):
        answer = as_admin.post(reverse(name, args=[admin.pk]), data, follow=True)
        assert "only active admin" in answer.content.decode()
    assert is_admin(User.objects.get(pk=admin.pk))


def test_an_admin_who_steps_down_is_led_to_what_they_may_see(as_admin, admin, member):
    set_role(member, Role.ADMIN)
    answer = as_admin.post(reverse("user_role", args=[admin.pk]), {"role": "member"})
    assert answer.url == reverse("fleet")


def test_a_role_that_does_not_exist_changes_nothing(as_admin, member):
    answer = as_admin.post(reverse("user_role", args=[member.pk]), {"role": "king"}, follow=True)
    assert "There is no such role." in answer.content.decode()


def test_deactivating_asks_first_and_says_what_it_costs(as_admin, member):
    shown = page(as_admin, reverse("user_deactivate", args=[member.pk]))
    assert "Deactivate max?" in shown
    assert "API tokens stop working at once" in shown
    member.refresh_from_db()
    assert member.is_active


def test_a_deactivated_user_is_out_at_their_next_click(as_admin, as_member, member):
    as_admin.post(reverse("user_deactivate", args=[member.pk]), {"confirmed": "1"})
    assert as_member.get(reverse("fleet")).url.startswith(reverse("login"))
    as_admin.post(reverse("user_reactivate", args=[member.pk]))
    member.refresh_from_db()
    assert member.is_active


def test_a_reset_password_is_shown_once_and_logs_the_user_out(as_admin, as_member, member):
    answer = as_admin.post(reverse("user_password", args=[member.pk]))
    assert authenticate(username="max", password=answer.context["password"])
    assert "no-store" in answer["Cache-Control"]
    assert as_member.get(reverse("fleet")).status_code == 302


def test_a_user_without_a_role_is_shown_as_one(as_admin):
    nobody = User.objects.create_user("nobody")
    assert "No role" in page(as_admin, reverse("user_detail", args=[nobody.pk]))


def test_the_dialog_asks_the_same_question_without_the_page_around_it(as_admin, member):
    answer = as_admin.get(
        reverse("user_deactivate", args=[member.pk]), headers={"HX-Request": "true", "HX-Target": "dialog"}
    )
    shown = answer.content.decode()
    assert "Deactivate max?" in shown
    assert "<html" not in shown


def test_a_users_tokens_are_listed_and_may_be_revoked_by_an_admin(as_admin, admin, member):
    token, _ = tokens.create_token(actor(admin, Via.WEB), member, "their script", "read")
    assert "their script" in page(as_admin, reverse("user_detail", args=[member.pk]))
    answer = as_admin.post(reverse("token_revoke", args=[token.pk]))
    assert answer.url == reverse("user_detail", args=[member.pk])
    token.refresh_from_db()
    assert token.revoked_at


def test_an_unknown_user_is_not_found(as_admin):
    for name in ("user_detail", "user_deactivate", "user_password"):
        assert as_admin.get(reverse(name, args=[4711])).status_code == 404
