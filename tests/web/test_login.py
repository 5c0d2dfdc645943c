"""The login page, its limits, and the banner of the generated password."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache, caches
from django.core.cache.backends.redis import RedisCache
from django.test import Client
from django.urls import reverse

from controlpanel.logs import OneLine
from models_app.accounts.first_admin import ensure_first_admin
from models_app.accounts.models import AuditEntry

LOGIN = "/login/"
PASSWORD = "a long pass phrase"


@pytest.fixture(autouse=True)
def fresh_counters(settings, monkeypatch):
    """All within one minute, however long it takes."""
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    monkeypatch.setattr("models_app.accounts.throttle.time", SimpleNamespace(time=lambda: 0.0))
    for counts in (cache, caches["own"]):
        counts.clear()
    yield
    for counts in (cache, caches["own"]):
        counts.clear()


def attempt(client: Client, name: str, password: str, address: str = "10.0.0.1"):
    return client.post(LOGIN, {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.mark.parametrize("address", ["/", "/load/", "/operations/"])
def test_a_visitor_is_sent_to_the_login_page(client, db, address):
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer.url == f"{LOGIN}?next={address}"


def test_the_right_password_leads_to_the_fleet(client, member):
    answer = attempt(client, "max", PASSWORD)
    assert answer.url == reverse("fleet")
    assert client.get("/").status_code == 200


def test_a_wrong_password_keeps_the_name_that_was_typed(client, member):
    page = attempt(client, "max", "wrong").content.decode()
    assert 'value="max"' in page
    assert "correct username and password" in page


def test_guesses_at_one_name_are_refused_even_from_many_addresses(client, member):
    for number in range(3):
        attempt(client, "max", "wrong", f"10.0.1.{number}")
    page = attempt(client, "MAX", PASSWORD, "10.0.1.9").content.decode()
    assert "Too many wrong passwords" in page
    assert "_auth_user_id" not in client.session


def test_while_redis_is_away_people_log_in_and_guesses_are_refused(client, member, monkeypatch):
    gone = RedisCache("redis://127.0.0.1:1/0", {})
    monkeypatch.setattr("models_app.accounts.throttle.cache", gone)
    assert attempt(client, "max", PASSWORD).url == reverse("fleet")
    for _ in range(3):
        attempt(Client(), "max", "wrong")
    assert "Too many wrong passwords" in attempt(Client(), "max", PASSWORD).content.decode()


def test_guesses_at_many_names_are_refused_from_one_address(client, member):
    for name in ("a", "b", "c"):
        attempt(client, name, "wrong")
    assert "Too many wrong passwords" in attempt(client, "max", PASSWORD).content.decode()


def test_successful_logins_do_not_count(client, member):
    for _ in range(5):
        assert attempt(Client(), "max", PASSWORD).status_code == 302


def test_logging_out_is_a_post(as_member):
    assert as_member.get("/logout/").status_code == 405
    assert as_member.post("/logout/").url == LOGIN
    assert as_member.get("/").status_code == 302


def test_a_user_without_a_role_is_told_to_ask_for_one(client, db):
    client.force_login(User.objects.create_user("new"))
    answer = client.get("/")
    assert answer.status_code == 403
    assert "has no role yet" in answer.content.decode()


def test_a_generated_password_is_mentioned_on_every_page_until_it_is_changed(client, db):
    first = ensure_first_admin()
    assert first is not None
    attempt(client, first.name, first.password)
    assert "generated password" in client.get("/").content.decode()
    user = User.objects.get(username=first.name)
    user.set_password("one of my own choice")
    user.save()
    client.force_login(user)
    assert "generated password" not in client.get("/").content.decode()


def test_a_login_without_a_csrf_token_is_refused(member):
    strict = Client(enforce_csrf_checks=True)
    assert attempt(strict, "max", PASSWORD).status_code == 403


def test_the_next_page_cannot_be_another_site(client, member):
    answer = client.post(LOGIN, {"username": "max", "password": PASSWORD, "next": "https://evil.example/"})
    assert answer.url == reverse("fleet")


def test_the_login_leads_back_to_the_page_of_a_form_not_to_where_the_form_is_sent(client, db):
    sent = client.post("/plans/make/", headers={"Referer": "http://testserver/plans/?page=2"})
    assert sent.url == f"{LOGIN}?next=/plans/%3Fpage%3D2"
    assert client.post("/plans/make/", headers={"Referer": "https://elsewhere.example/x"}).url == f"{LOGIN}?next=/"
    tricked = client.post("/plans/make/", headers={"Referer": "http://testserver//elsewhere.example/x"})
    assert tricked.url == f"{LOGIN}?next=/elsewhere.example/x"


def test_a_script_of_a_page_is_told_to_go_to_the_login(client, db):
    page = {"HX-Request": "true", "HX-Current-URL": "http://testserver/users/1/"}
    answer = client.get("/users/1/password/", headers=page)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["HX-Redirect"] == f"{LOGIN}?next=/users/1/"


def test_a_form_of_another_login_is_told_to_be_out_of_date(member):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(member)
    answer = strict.post("/account/", headers={"Referer": "http://testserver/account/"})
    assert answer.status_code == 403
    assert "This page was out of date" in answer.content.decode()
    assert 'href="/account/"' in answer.content.decode()
    assert "Reload it" in answer["Berth-Trouble"]


def test_a_form_that_a_proxy_readdressed_names_both_addresses(member):
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post(LOGIN, headers={"Origin": "https://berth.example:8443"})
    assert answer.status_code == 403
    words = answer.content.decode()
    assert "from https://berth.example:8443" in words
    assert "for http://testserver" in words


def test_a_name_that_the_panel_does_not_go_by_is_told_with_the_setting(client, db, caplog):
    answer = client.get(LOGIN, headers={"Host": "other.example"})
    assert answer.status_code == 400
    assert "BERTH_ALLOWED_HOSTS" in answer.content.decode()
    (line,) = (one for one in caplog.records if one.name == "django.security.DisallowedHost")
    assert OneLine().filter(line)
    assert line.exc_info is None


def test_logins_are_told_with_the_address_and_no_name_that_nobody_has(client, member, caplog):
    attempt(client, "my password by mistake", "max")
    attempt(client, "max", "wrong")
    assert [one.getMessage() for one in caplog.records if "login" in one.name] == [
        "a login from 10.0.0.1 failed: nobody has that name",
        "a login from 10.0.0.1 failed: max's password was wrong",
    ]
    attempt(client, "max", PASSWORD, "10.0.0.7")
    entry = AuditEntry.objects.get(action="account.log_in")
    assert (entry.user, entry.address) == (member, "10.0.0.7")


def test_an_address_that_only_takes_forms_has_a_page_with_the_way_back(as_admin):
    answer = as_admin.get("/plans/make/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "Nothing was changed" in answer.content.decode()
