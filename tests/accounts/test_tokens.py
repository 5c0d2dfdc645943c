"""API tokens: shown once, kept as a hash, and useless as soon as anything about them or their owner has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.accounts import users
from models_app.accounts.models import ApiToken, AuditEntry
from models_app.accounts.roles import Role, Via, actor
from models_app.accounts.tokens import TokenRefused, create_token, find_token, may_write, revoke_token

READ, WRITE = ApiToken.Scope.READ, ApiToken.Scope.WRITE


@pytest.fixture
def act(admin):
    return actor(admin, Via.WEB)


def test_the_secret_finds_its_token(act, admin):
    token, secret = create_token(act, admin, "night batch", READ)
    assert find_token(secret) == token
    assert secret.startswith("berth_")
    assert secret.startswith(token.prefix)


def test_the_secret_is_nowhere_in_the_row_or_the_audit_trail(act, admin):
    token, secret = create_token(act, admin, "night batch", WRITE)
    token.refresh_from_db()
    assert secret not in str(token.__dict__)
    assert token.digest != secret
    assert not any(secret in str(entry.__dict__) for entry in AuditEntry.objects.all())


def test_two_tokens_never_share_a_secret(act, admin):
    secrets = {create_token(act, admin, "ci", READ)[1] for _ in range(20)}
    assert len(secrets) == 20


@pytest.mark.parametrize("secret", ["", "berth_", "berth_wrong", "wrong", "berth_" + "x" * 10_000, "berth_\x00", "berth_é"])
def test_anything_else_finds_nothing(act, admin, secret):
    create_token(act, admin, "ci", READ)
    assert find_token(secret) is None


def test_an_expired_token_finds_nothing(act, admin):
    token, secret = create_token(act, admin, "ci", READ, timezone.now() + timedelta(days=1))
    assert find_token(secret) == token
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert find_token(secret) is None


def test_a_revoked_token_finds_nothing_and_stays_on_record(act, admin):
    token, secret = create_token(act, admin, "ci", READ)
    revoke_token(act, token)
    assert find_token(secret) is None
    assert ApiToken.objects.get().revoked_at is not None


def test_revoking_twice_is_once(act, admin):
    token, _ = create_token(act, admin, "ci", READ)
    revoke_token(act, token)
    first = ApiToken.objects.get().revoked_at
    revoke_token(act, token)
    assert ApiToken.objects.get().revoked_at == first
    assert AuditEntry.objects.filter(action="token.revoke").count() == 1


def test_a_read_token_may_not_write_whoever_owns_it(act, admin):
    assert not may_write(create_token(act, admin, "ci", READ)[0])
    assert may_write(create_token(act, admin, "ci", WRITE)[0])


def test_a_member_gets_no_write_token(act, member):
    with pytest.raises(TokenRefused, match="Only admins"):
        create_token(act, member, "ci", WRITE)
    assert not ApiToken.objects.exists()


def test_a_write_token_reads_only_once_its_owner_is_no_admin(act, admin, member):
    users.change_role(act, member, Role.ADMIN)
    token, secret = create_token(act, member, "ci", WRITE)
    users.change_role(act, member, Role.MEMBER)
    found = find_token(secret)
    assert found == token
    assert not may_write(found)


def test_the_tokens_of_somebody_deactivated_or_without_a_role_find_nothing(act, member):
    _, secret = create_token(act, member, "ci", READ)
    users.set_active(act, member, False)
    assert find_token(secret) is None
    users.set_active(act, member, True)
    assert find_token(secret) is not None
    member.groups.clear()
    assert find_token(secret) is None


@pytest.mark.parametrize(("name", "lifetime"), [("", None), ("   ", None), ("ci", timedelta(seconds=-1))])
def test_a_token_without_a_name_or_a_future_is_refused(act, admin, name, lifetime):
    with pytest.raises(TokenRefused):
        create_token(act, admin, name, READ, timezone.now() + lifetime if lifetime else None)
    assert not ApiToken.objects.exists()


def test_use_is_noted_no_more_than_once_a_minute(act, admin, time_machine):
    time_machine.move_to("2026-05-01T12:00:00Z", tick=False)
    token, secret = create_token(act, admin, "ci", READ)
    find_token(secret)
    time_machine.move_to("2026-05-01T12:00:40Z", tick=False)
    find_token(secret)
    token.refresh_from_db()
    assert token.last_used_at.second == 0
    time_machine.move_to("2026-05-01T12:01:40Z", tick=False)
    find_token(secret)
    token.refresh_from_db()
    assert (token.last_used_at.minute, token.last_used_at.second) == (1, 40)


def test_one_query_finds_the_token_and_whether_its_owner_may_act(act, admin, django_assert_num_queries):
    _, secret = create_token(act, admin, "ci", WRITE)
    find_token(secret)
    with django_assert_num_queries(1):
        assert may_write(find_token(secret))
