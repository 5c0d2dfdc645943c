"""Hosts, users and tokens, by clicking."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.panels import Panel
from tests.ports import free_port

pytestmark = pytest.mark.browser


def test_a_refused_connection_says_what_to_do_and_a_good_one_is_added(
    empty_panel: Panel, ollama_process: str, visits: Visits
) -> None:
    page = visits.person(empty_panel)
    page.goto("/hosts/add/")
    page.get_by_label("Name of the host").fill("gpu-1")
    page.get_by_label("Address").fill(f"http://127.0.0.1:{free_port()}")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#connection").get_by_role("alert")).to_contain_text("Nothing listens on 127.0.0.1")
    expect(page.locator("#connection")).to_contain_text("Start the server on this machine, or correct the port")

    page.get_by_label("Address").fill(ollama_process)
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#connection")).to_contain_text("It answers: Ollama")
    page.get_by_role("button", name="Add the host").click()
    expect(page.get_by_role("article", name="gpu-1")).to_contain_text("4 models installed")


def test_a_metadata_address_is_refused_where_it_was_typed(empty_panel: Panel, visits: Visits) -> None:
    page = visits.person(empty_panel)
    page.goto("/hosts/add/")
    page.get_by_label("Name of the host").fill("cloud")
    page.get_by_label("Address").fill("http://0xA9FEA9FE:8080")
    page.get_by_role("button", name="Add the host").click()
    expect(page.locator(".error")).to_be_visible()
    expect(page.get_by_label("Name of the host")).to_have_value("cloud")
    expect(page.get_by_label("Address")).to_have_value("http://0xA9FEA9FE:8080")


def test_a_new_member_logs_in_with_the_password_shown_once(empty_panel: Panel, visits: Visits) -> None:
    admin = visits.person(empty_panel)
    password = steps.add_user(admin, "mia")
    admin.goto("/users/")
    expect(admin.get_by_role("row", name="mia")).to_contain_text("member")
    assert password not in admin.content()
    member = visits.stranger(empty_panel)
    steps.log_in(member, "mia", password)
    expect(member.get_by_role("heading", name="Fleet", level=1)).to_be_visible()
    assert member.goto("/users/").status == 403  # type: ignore[union-attr]
    visits.forgive("status of 403")


def test_a_token_is_shown_once_and_opens_the_api_until_it_is_revoked(empty_panel: Panel, visits: Visits) -> None:
    page = visits.person(empty_panel)
    page.goto("/account/tokens/")
    page.get_by_label("Name").fill("script")
    page.get_by_role("button", name="Make the token").click()
    secret = page.get_by_label("Token", exact=True).input_value()
    asked = {"url": f"{empty_panel.url}/api/v1/hosts", "headers": {"Authorization": f"Bearer {secret}"}}
    assert httpx.get(**asked).status_code == 200
    page.goto("/account/tokens/")
    assert secret not in page.content()
    page.get_by_role("link", name="Revoke").click()
    page.locator("#dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator("main")).to_contain_text("revoked")
    assert httpx.get(**asked).status_code == 401
