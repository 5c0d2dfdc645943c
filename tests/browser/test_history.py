"""The history page in a browser: charts from the API under the strict policy, by keyboard, by colour scheme, on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.fixtures.browser import Visits
from tests.panels import Panel, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visits: Visits, demo_panel: Panel) -> Page:
    """The past hour of the demo's first GPU, drawn."""
    page = visits.person(demo_panel)
    page.goto("/history/?range=1h")
    expect(page.locator("[data-chart=vram] canvas")).to_be_visible()
    return page


def colours(page: Page, chart: str) -> int:
    """How many different colours a chart's canvas has."""
    return page.evaluate(
        """(chart) => {
            const canvas = document.querySelector(`[data-chart=${chart}] canvas`);
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        }""",
        chart,
    )


def test_every_chart_is_drawn(page: Page) -> None:
    for chart in ("vram", "utilization", "temperature", "power"):
        expect(page.locator(f"[data-chart={chart}] canvas")).to_be_visible()
        assert colours(page, chart) > 5


def told_after(page: Page, *keys: str) -> str:
    """What the chart says of the moment that these keys lead to."""
    page.locator("[data-chart=vram]").focus()
    for key in keys:
        page.keyboard.press(key)
    return page.locator("#history-at").inner_text()


def test_the_arrow_keys_tell_the_figures_of_each_moment(page: Page) -> None:
    # A panel that has just started needs a few seconds until two moments are drawn.
    wait_until(lambda: "GiB used" in told_after(page, "End"), "the newest moment to be told")
    wait_until(lambda: told_after(page, "Escape", "End") != told_after(page, "ArrowLeft"), "the moment before to be told")
    assert "Times are UTC" in told_after(page, "Escape")


def test_the_charts_bring_themselves_up_to_date(page: Page) -> None:
    with page.expect_response(lambda answer: "/telemetry/history" in answer.url and answer.ok) as answered:
        pass
    assert answered.value.json()["step_seconds"] == 6


def test_another_span_and_another_subject_are_a_click_away(page: Page) -> None:
    page.get_by_role("link", name="24 h").click()
    page.wait_for_url("**range=24h**")
    page.get_by_text("Another GPU or model").click()
    page.locator(".choose .item", has_text="llama3.1:8b").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("llama3.1:8b")
    expect(page.locator("[data-chart=vram] canvas")).to_be_visible()


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}])
def test_it_fits_any_screen(visits: Visits, demo_panel: Panel, options: dict[str, Any]) -> None:
    page = visits.person(demo_panel, **options)
    page.goto("/history/?range=6h")
    expect(page.locator("[data-chart=vram] canvas")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_javascript_the_tables_tell_the_same(visits: Visits, demo_panel: Panel) -> None:
    page = visits.person(demo_panel, java_script_enabled=False)
    mean = page.get_by_role("columnheader", name="Mean", exact=True)
    # A panel that has just started has written nothing down yet, and a page without JavaScript stays as it is.
    wait_until(lambda: page.goto("/history/?range=1h") and mean.is_visible(), "the first figures to be written down")
    expect(page.locator(".figures-table tbody tr").first).to_be_visible()
    expect(page.locator(".plot").first).to_be_hidden()
    expect(page.get_by_role("link", name="CSV")).to_be_visible()
