"""Whether the people behind open sockets may still look."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from models_app.accounts.roles import Role, set_role
from models_app.accounts.standing import Login, Standing, login_of, standings


@pytest.fixture
def login(client, member) -> Login:
    client.force_login(member)
    return login_of(member, client.session.session_key)


def standing(login: Login) -> Standing:
    return standings([login])[login]


def test_a_signed_in_member_has_the_role(login):
    assert standing(login) == Standing(True, Role.MEMBER)


def test_a_role_taken_away_is_gone(login, member):
    member.groups.clear()
    assert standing(login) == Standing(True, None)


def test_an_admin_is_an_admin_though_also_a_member(login, member):
    set_role(member, Role.ADMIN)
    assert standing(login).role is Role.ADMIN


def test_logging_out_ends_the_sign_in(login, client):
    client.logout()
    assert not standing(login).signed_in


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another hash"}])
def test_a_changed_password_or_a_closed_account_ends_the_sign_in(login, change):
    User.objects.update(**change)
    assert not standing(login).signed_in


def test_the_number_of_queries_does_not_grow_with_the_logins(client, django_assert_num_queries, db):
    logins = []
    for number in range(12):
        user = User.objects.create_user(f"user-{number}")
        set_role(user, Role.MEMBER)
        client.force_login(user)
        logins.append(login_of(user, client.session.session_key))
    with django_assert_num_queries(2):
        assert len(standings(logins)) == 12
