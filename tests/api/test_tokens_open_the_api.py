"""A token opens what its scope and its owner's role allow, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Role, set_role
from models_app.api.urls import api
from tests.api.conftest import Script

LOAD = {"kind": "load", "endpoint": "nowhere", "model": "llama3.1:8b"}


@pytest.mark.parametrize(
    "path", ["hosts", "gpus", "endpoints", "models", "loaded-models", "telemetry/latest", "operations"]
)
def test_every_list_needs_a_token(path: str, db: None) -> None:
    answer = Client().get(f"/api/v1/{path}")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", [None, f"Bearer berth_{'x' * 43}", "Basic YWRhOnNlY3JldA=="])
def test_every_operation_needs_a_token_that_is_known(authorization: str | None, db: None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    described = api.get_openapi_schema(path_prefix="/api/")["paths"]
    asked = [(method, re.sub(r"{\w+}", "1", path)) for path, methods in described.items() for method in methods]
    answers = {each: Client().generic(each[0].upper(), each[1], headers=headers).status_code for each in asked}
    assert len(answers) > 70
    assert {each: status for each, status in answers.items() if status != 401} == {}


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs"])
def test_the_description_is_not_open_to_strangers(path: str, db: None) -> None:
    assert Client().get(path).status_code == 401


def test_a_member_may_read_the_description(as_member: Client) -> None:
    assert as_member.get("/api/openapi.json").json()["info"]["title"] == "Berth"
    assert b"swagger-ui" in as_member.get("/api/docs").content


def test_a_read_token_reads(reader: Script) -> None:
    assert reader.get("hosts").json()["items"] == []


def test_a_read_token_on_a_write_is_refused(reader: Script) -> None:
    answer = reader.post("operations", LOAD)
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")


def test_an_expired_token_on_a_write_is_refused(writer: Script) -> None:
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = writer.post("operations", LOAD)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


def test_a_revoked_token_is_refused(writer: Script) -> None:
    ApiToken.objects.update(revoked_at=timezone.now())
    assert writer.get("hosts").status_code == 401


def test_a_write_token_only_reads_once_its_owner_is_no_admin(writer: Script, admin: User) -> None:
    set_role(admin, Role.MEMBER)
    assert writer.get("hosts").status_code == 200
    assert writer.post("operations", LOAD).json()["code"] == "read_only"


def test_a_token_is_worthless_once_its_owner_is_deactivated(writer: Script, admin: User) -> None:
    User.objects.filter(pk=admin.pk).update(is_active=False)
    assert writer.get("hosts").status_code == 401


@pytest.mark.parametrize("secret", ["", "berth_", "berth_" + "x" * 43, "berth_" + "x" * 5000, "other", "berth_\x00"])
def test_an_unknown_token_is_refused(secret: str, db: None) -> None:
    assert Script(secret, Client()).get("hosts").status_code == 401


def test_a_token_in_the_address_opens_nothing(writer: Script) -> None:
    assert Client().get("/api/v1/hosts", {"token": writer.secret, "access_token": writer.secret}).status_code == 401


def test_a_browser_needs_the_csrf_token_to_write(admin: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin)
    assert browser.post("/api/v1/operations", LOAD, content_type="application/json").status_code == 403


def test_a_member_in_a_browser_cannot_write(as_member: Client) -> None:
    answer = as_member.post("/api/v1/operations", LOAD, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_the_use_of_a_token_is_remembered(reader: Script) -> None:
    assert ApiToken.objects.get().last_used_at is None
    reader.get("hosts")
    assert ApiToken.objects.get().last_used_at is not None


def test_only_the_hash_of_a_token_is_stored(script_of: Callable[..., Any], admin: User) -> None:
    script = script_of(admin, ApiToken.Scope.WRITE)
    stored = " ".join(str(value) for value in ApiToken.objects.values().get().values())
    assert script.secret not in stored
