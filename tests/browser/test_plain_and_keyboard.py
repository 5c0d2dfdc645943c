"""The pages without JavaScript, and with nothing but a keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.panels import Panel, wait_until

pytestmark = pytest.mark.browser

MODEL = "llama3.2:3b"
FOCUSED = "() => (document.activeElement.innerText || document.activeElement.name || '').trim()"
MOST_TABS = 80


@pytest.fixture(autouse=True)
def nothing_loaded(ollama_process: str) -> Iterator[None]:
    yield
    httpx.post(f"{ollama_process}/api/generate", json={"model": MODEL, "keep_alive": 0, "stream": False})


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element of that text, or the field of that name, has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == name:
            return
    pytest.fail(f"{MOST_TABS} times Tab did not lead to {name!r}")


def reload_until_ended(page: Page) -> None:
    """Read an operation's page again and again, as one does without JavaScript."""
    expect(page).to_have_url(re.compile(r"/operations/\d+/$"))

    def has_ended() -> bool:
        page.reload()
        return page.get_by_role("heading", name="Succeeded").is_visible()

    wait_until(has_ended, "the operation has succeeded")


def test_a_model_is_loaded_and_unloaded_without_javascript(ollama_panel: Panel, visits: Visits) -> None:
    page = visits.stranger(ollama_panel, java_script_enabled=False)
    steps.log_in(page)
    form = page.locator("#load-panel")
    form.get_by_label("Model").select_option(MODEL)
    form.get_by_role("button", name="Check the fit").click()
    expect(page.get_by_label("Model")).to_have_value(MODEL)
    expect(page.locator(".fit")).to_be_visible()
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.get_by_role("heading", name=f"Load {MODEL}")).to_be_visible()
    reload_until_ended(page)

    page.goto("/")
    expect(page.locator("#live-status")).to_contain_text("as of")
    steps.row(page, MODEL).get_by_role("button", name=f"Unload {MODEL}").click()
    expect(page.get_by_role("heading", name=f"Unload {MODEL}")).to_be_visible()
    reload_until_ended(page)
    page.goto("/")
    expect(steps.row(page, MODEL)).to_have_count(0)


def test_a_keep_alive_is_changed_without_javascript(ollama_panel: Panel, ollama_process: str, visits: Visits) -> None:
    page = visits.person(ollama_panel, java_script_enabled=False)
    httpx.post(f"{ollama_process}/api/generate", json={"model": MODEL, "stream": False}, timeout=60)

    def is_listed() -> bool:
        page.goto("/")
        return steps.row(page, MODEL).is_visible()

    wait_until(is_listed, "the model is listed")
    steps.open_menu(page, MODEL).get_by_role("link", name="Keep-alive…").click()
    page.get_by_label("Stays when idle for").fill("forever")
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_role("heading", name=f"Change keep-alive of {MODEL}?")).to_be_visible()
    page.get_by_role("button", name="Change it all the same").click()
    reload_until_ended(page)


def test_a_model_is_loaded_with_the_keyboard_alone(ollama_panel: Panel, visits: Visits) -> None:
    page = visits.person(ollama_panel)
    steps.open_fleet(page)
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to content"
    page.keyboard.press("Enter")
    tab_to(page, "Load a model")
    page.keyboard.press("Enter")
    expect(page.locator("#load-panel").get_by_label("Model")).to_be_focused()
    page.keyboard.type(MODEL)
    expect(page.locator("#load-panel").get_by_label("Model")).to_have_value(MODEL)
    expect(page.locator("#load-panel").get_by_role("button", name="Load", exact=True)).to_be_visible()
    tab_to(page, "Load")
    page.keyboard.press("Enter")
    expect(steps.row(page, MODEL)).to_be_visible(timeout=steps.MOVE_MILLISECONDS)

    more = steps.row(page, MODEL).locator("summary")
    more.focus()
    for key in ("Enter", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_label("Stays when idle for")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()


def test_a_dialog_takes_the_focus_and_gives_it_back(ollama_panel: Panel, visits: Visits) -> None:
    page = visits.person(ollama_panel)
    page.goto("/operations/")
    opener = page.get_by_role("link", name="Load a model").first
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#dialog")).to_be_visible()
    expect(page.locator("#dialog").get_by_label("Model")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_catalog_is_sorted_filtered_and_chosen_from_with_the_keyboard_alone(
    ollama_panel: Panel, visits: Visits
) -> None:
    page = visits.person(ollama_panel)
    page.goto("/models/")
    page.locator("#sort-file_size_bytes").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("sort=file_size_bytes"))
    expect(page.locator("#sort-file_size_bytes")).to_be_focused()
    page.get_by_label("State").focus()
    page.keyboard.type("Installed, not")
    expect(page).to_have_url(re.compile("presence=installed.*sort=file_size_bytes"))
    expect(page.get_by_label("State")).to_be_focused()
    pick = page.get_by_role("checkbox").first
    pick.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="What strategy fits these?").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The alternatives")).to_be_visible()
