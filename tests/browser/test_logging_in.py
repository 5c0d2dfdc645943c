"""The door: who gets in, and what is said to the others."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.steps import log_in
from tests.fixtures.browser import Visits
from tests.panels import Panel

pytestmark = pytest.mark.browser


def test_a_wrong_password_is_refused_and_the_name_is_kept(empty_panel: Panel, visits: Visits) -> None:
    page = visits.stranger(empty_panel)
    log_in(page, password="guess")
    expect(page.get_by_text("Please enter a correct username and password")).to_be_visible()
    expect(page.get_by_label("Username")).to_have_value("admin")
    expect(page.get_by_label("Password")).to_have_value("")


def test_the_right_password_leads_to_the_page_that_was_asked_for(empty_panel: Panel, visits: Visits) -> None:
    page = visits.stranger(empty_panel)
    page.goto("/audit/")
    expect(page.get_by_label("Username")).to_be_visible()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("a long pass phrase")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Audit", level=1)).to_be_visible()


def test_logging_out_closes_the_door(empty_panel: Panel, visits: Visits) -> None:
    page = visits.stranger(empty_panel)
    log_in(page)
    page.locator("#account-menu summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
