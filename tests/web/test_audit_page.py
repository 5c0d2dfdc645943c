"""The audit trail's page."""

from __future__ import annotations

import pytest
from django.db import connection
from django.urls import reverse

from models_app.accounts import audit
from models_app.accounts.models import AuditEntry
from models_app.accounts.roles import PANEL, Via, actor
from tests.factories import HostFactory

AUDIT = "/audit/"


@pytest.fixture
def trail(admin):
    host = HostFactory(name="atlas")
    audit.record(actor(admin, Via.API), "host.update", host, was="old", tags=["a", "b"], options={}, reload=False)
    audit.record(PANEL, "endpoint.add", host, with_key=True)


def results(client, **query: str) -> str:
    return client.get(AUDIT, query).content.decode().split('id="results"')[1]


def test_only_admins_see_it(client, as_member):
    assert as_member.get(AUDIT).status_code == 403
    assert client.get(AUDIT).url.startswith(reverse("login"))


def test_entries_are_shown_with_their_detail_and_without_what_is_empty(as_admin, trail):
    shown = results(as_admin)
    assert "was: old · tags: a, b" in shown
    assert "with key" in shown
    assert "options" not in shown
    assert "reload" not in shown


def test_the_newest_is_first(as_admin, trail):
    shown = results(as_admin)
    assert shown.index("endpoint.add") < shown.index("host.update")
    turned = results(as_admin, sort="at")
    assert turned.index("endpoint.add") > turned.index("host.update")


@pytest.mark.parametrize("query", [{"action": "host.update"}, {"via": "api"}, {"actor": "ada"}, {"q": "ada upd"}])
def test_it_is_filtered_and_searched(as_admin, trail, query):
    shown = results(as_admin, **query)
    assert "host.update" in shown
    assert "endpoint.add" not in shown


def test_it_is_paged(as_admin, trail):
    shown = results(as_admin, per_page="1", q="atlas")
    assert "1 to 1 of 2" in shown
    assert "page=2" in shown
    assert "q=atlas" in shown


@pytest.mark.django_db
def test_what_it_can_be_filtered_by_is_read_from_indexes():
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, AuditEntry._meta.db_table).values()
    assert {"action", "actor_name"} <= {each["columns"][0] for each in found if each["index"]}


def test_nothing_can_be_posted(as_admin):
    assert as_admin.post(AUDIT).status_code == 405


def test_what_an_entry_holds_is_never_taken_for_markup(as_admin, admin):
    audit.record(actor(admin, Via.WEB), "host.add", HostFactory(name="<script>alert(1)</script>"), was="<b>")
    shown = results(as_admin)
    assert "<script>alert" not in shown
    assert "&lt;b&gt;" in shown


def test_what_is_asked_for_is_shown_with_the_address_it_was_asked_from(as_admin):
    as_admin.post(reverse("user_new"), {"username": "zoe", "role": "member"}, REMOTE_ADDR="2001:db8::7")
    shown = results(as_admin, q="2001:db8::7")
    assert "account.create" in shown
    assert "<small>2001:db8::7</small>" in shown
