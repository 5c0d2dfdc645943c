"""The fit's answer and "what if?" in a browser: links that fill in the form, and a slider that redraws a bar."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import steps
from tests.browser.test_every_page import OVERFLOWING, violations
from tests.fixtures.browser import Visits
from tests.fixtures.panels import Panel

pytestmark = pytest.mark.browser

TOO_LARGE = "mistral-small:24b"
"""A model that does not fit beside what the demo has loaded."""


def test_a_model_that_does_not_fit_leads_to_a_swap_that_does(demo_panel: Panel, visits: Visits) -> None:
    page = visits.person(demo_panel)
    steps.open_fleet(page)
    form = steps.choose_model(page, TOO_LARGE)
    expect(form.locator(".verdict")).to_contain_text("Does not fit")
    form.locator(".fit").get_by_role("link", name="swap").click()
    dialog = page.locator("#dialog")
    expect(dialog.locator(".verdict")).to_contain_text("Fits:")
    expect(dialog.get_by_role("checkbox", checked=True)).not_to_have_count(0)
    assert violations(page) == []


def test_advice_fills_in_the_form(demo_panel: Panel, visits: Visits) -> None:
    page = visits.person(demo_panel)
    steps.open_fleet(page)
    form = steps.choose_model(page, TOO_LARGE)
    form.get_by_role("link", name=re.compile("Use a context of")).click()
    expect(form.get_by_label("Context, tokens")).not_to_have_value("")
    expect(form.locator(".verdict")).to_contain_text("Fits:")


def test_the_answer_is_accessible_and_fits_a_phone(demo_panel: Panel, visits: Visits) -> None:
    page = visits.person(demo_panel)
    page.goto(f"/load/?model={TOO_LARGE}")
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(OVERFLOWING) == []


def test_the_slider_redraws_the_bar(demo_panel: Panel, visits: Visits) -> None:
    page = visits.person(demo_panel)
    page.goto("/models/")
    page.get_by_role("link", name=TOO_LARGE, exact=True).click()
    answer = page.locator("#what-if-answer")
    expect(answer).to_contain_text("8k context")
    width = "() => document.querySelector('#what-if-answer rect.kv').getBoundingClientRect().width"
    before = page.evaluate(width)
    page.get_by_label("Context, tokens of each slot").fill("16384")
    expect(answer).to_contain_text("16k context")
    page.wait_for_function(f"(before) => ({width})() > 1.5 * before", arg=before)
    expect(page).to_have_url(re.compile("context=16384"))
