"""Adding people, changing their roles and access, and what must never happen: nobody left who may act."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection

from models_app.accounts import users
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import Role, Via, actor, is_admin, is_member
from models_app.accounts.users import AccountRefused
from models_app.live import current_revision

PASSWORD = "a long pass phrase"


@pytest.fixture
def act(admin):
    return actor(admin, Via.WEB)


def test_a_generated_password_lets_the_new_user_in(act):
    user, password = users.add_user(act, "grace", Role.MEMBER)
    assert authenticate(username="grace", password=password) == user
    assert is_member(user)
    assert not is_admin(user)


def test_a_given_password_is_not_handed_back(act):
    _, password = users.add_user(act, "grace", Role.ADMIN, PASSWORD)
    assert password == ""
    assert authenticate(username="grace", password=PASSWORD)


@pytest.mark.parametrize("name", ["ada", "ADA"])
def test_a_name_is_given_once_whatever_its_case(act, name):
    with pytest.raises(AccountRefused) as refused:
        users.add_user(act, name, Role.MEMBER)
    assert (refused.value.code, refused.value.field) == ("name_taken", "username")


@pytest.mark.parametrize("password", ["short", "password123", "gracehopper"])
def test_a_weak_password_is_refused_and_adds_nobody(act, password):
    with pytest.raises(AccountRefused) as refused:
        users.add_user(act, "gracehopper", Role.MEMBER, password)
    assert refused.value.field == "password"
    assert not User.objects.filter(username="gracehopper").exists()


def test_the_last_admin_cannot_become_a_member(act, admin):
    with pytest.raises(AccountRefused, match="only active admin"):
        users.change_role(act, admin, Role.MEMBER)
    assert is_admin(admin)


def test_the_last_admin_cannot_be_deactivated(act, admin):
    with pytest.raises(AccountRefused, match="only active admin"):
        users.set_active(act, admin, False)
    admin.refresh_from_db()
    assert admin.is_active


def test_a_deactivated_admin_does_not_count_as_one_who_is_left(act, admin):
    other, _ = users.add_user(act, "grace", Role.ADMIN)
    users.set_active(act, other, False)
    with pytest.raises(AccountRefused):
        users.change_role(act, admin, Role.MEMBER)


def test_an_admin_may_step_down_when_another_is_there(act, admin):
    users.add_user(act, "grace", Role.ADMIN)
    users.change_role(act, admin, Role.MEMBER)
    assert not is_admin(admin)
    assert is_member(admin)


def test_a_superuser_made_a_member_may_not_act(act):
    root = User.objects.create_superuser("root", password=PASSWORD)
    users.change_role(act, root, Role.MEMBER)
    assert not is_admin(User.objects.get(pk=root.pk))


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_remove_each_other_at_once_leave_one():
    ada = User.objects.create_user("ada")
    act = actor(ada, Via.WEB)
    users.change_role(act, ada, Role.ADMIN)
    bob, _ = users.add_user(act, "bob", Role.ADMIN)
    start, refusals = threading.Barrier(2), []

    def demote(person: User) -> None:
        start.wait()
        try:
            users.change_role(act, person, Role.MEMBER)
        except AccountRefused as refused:
            refusals.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=demote, args=(person,)) for person in (ada, bob)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals == ["last_admin"]
    assert users.active_admins().count() == 1


def test_somebody_deactivated_is_out_and_may_come_back(act, member):
    users.set_active(act, member, False)
    assert authenticate(username="max", password=PASSWORD) is None
    assert not is_member(member)
    users.set_active(act, member, True)
    assert authenticate(username="max", password=PASSWORD) == member


def test_a_reset_password_replaces_the_old_one(act, member):
    password = users.reset_password(act, member)
    assert authenticate(username="max", password=PASSWORD) is None
    assert authenticate(username="max", password=password) == member


def test_ones_own_password_changes_only_with_the_current_one(member):
    act = actor(member, Via.WEB)
    with pytest.raises(AccountRefused) as refused:
        users.change_password(act, member, "not it", "another pass phrase")
    assert refused.value.field == "current"
    users.change_password(act, member, PASSWORD, "another pass phrase")
    assert authenticate(username="max", password="another pass phrase") == member


def test_ones_own_new_password_must_not_be_weak(member):
    with pytest.raises(AccountRefused) as refused:
        users.change_password(actor(member, Via.WEB), member, PASSWORD, "short")
    assert refused.value.field == "new"


def test_every_change_is_in_the_audit_trail_without_a_password(act, member):
    password = users.reset_password(act, member)
    users.change_role(act, member, Role.ADMIN)
    users.set_active(act, member, False)
    users.set_active(act, member, True)
    entries = list(AuditEntry.objects.filter(object_type="user").order_by("pk"))
    actions = ["account.reset_password", "account.change_role", "account.deactivate", "account.reactivate"]
    assert [entry.action for entry in entries] == actions
    assert {entry.actor_name for entry in entries} == {"ada"}
    assert not any(password in str(entry.__dict__) for entry in entries)


@pytest.mark.parametrize(
    "change",
    [
        lambda act, user: users.change_role(act, user, Role.ADMIN),
        lambda act, user: users.set_active(act, user, False),
        lambda act, user: users.reset_password(act, user),
    ],
)
def test_open_sockets_are_told_of_every_change(act, member, change, django_capture_on_commit_callbacks):
    before = current_revision()
    with django_capture_on_commit_callbacks(execute=True):
        change(act, member)
    assert current_revision() > before


def test_a_refused_change_leaves_no_audit_entry(act, admin):
    with pytest.raises(AccountRefused):
        users.change_role(act, admin, Role.MEMBER)
    assert not AuditEntry.objects.exists()
