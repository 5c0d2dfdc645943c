"""What people do on the pages, in the words of the pages."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.panels import ADMIN, PASSWORD, wait_until

MOVE_MILLISECONDS = 60_000
"""How long an operation may take until the page shows its end."""

BAR_WIDTH = """(model) => [...document.querySelectorAll("#fleet-hosts svg.vram > svg")]
    .filter((part) => part.querySelector("title").textContent.startsWith(model + ":"))
    .reduce((sum, part) => sum + part.getBoundingClientRect().width, 0)"""
USED_WIDTH = """() => [...document.querySelectorAll("#fleet-hosts svg.vram > svg")]
    .reduce((sum, part) => sum + part.getBoundingClientRect().width, 0)"""


def log_in(page: Page, name: str = ADMIN, password: str = PASSWORD) -> None:
    """Fill the login form in and send it."""
    page.goto("/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def open_fleet(page: Page) -> None:
    """The Fleet page, live."""
    page.goto("/")
    expect_live(page)
    page.evaluate("window.sameDocument = true")


def expect_same_document(page: Page) -> None:
    """The page has not been loaded anew since ``open_fleet``."""
    assert page.evaluate("window.sameDocument === true")


def expect_live(page: Page) -> None:
    """The page says that it is live."""
    expect(page.locator("#live-status")).to_have_attribute("data-state", "live", timeout=MOVE_MILLISECONDS)


def choose_model(page: Page, model: str) -> Locator:
    """Choose the model in the form beside the fleet; the form, with the preview of that model."""
    form = page.locator("#load-panel")
    with page.expect_response(lambda answer: "/load/" in answer.url):
        form.get_by_label("Model").select_option(model)
    expect(form.locator(".fit")).to_be_visible()
    return form


def load(page: Page, model: str) -> None:
    """Click through a load; the model is in the list when it returns."""
    choose_model(page, model).get_by_role("button", name="Load", exact=True).click()
    expect(row(page, model)).to_be_visible(timeout=MOVE_MILLISECONDS)


def unload(page: Page, model: str) -> None:
    """Click *Unload*; the model is gone from the list when it returns."""
    row(page, model).get_by_role("button", name=f"Unload {model}").click()
    expect(row(page, model)).to_have_count(0, timeout=MOVE_MILLISECONDS)


def swap(page: Page, old: str, new: str) -> None:
    """Click through a swap of one model for another."""
    open_menu(page, old).get_by_role("link", name="Swap…").click()
    dialog = page.locator("#dialog")
    with page.expect_response(lambda answer: "/load/" in answer.url):
        dialog.get_by_label("Model").select_option(new)
    expect(dialog.get_by_role("checkbox", name=old)).to_be_checked()
    dialog.get_by_role("button", name="Swap", exact=True).click()
    expect(row(page, new)).to_be_visible(timeout=MOVE_MILLISECONDS)
    expect(row(page, old)).to_have_count(0, timeout=MOVE_MILLISECONDS)


def row(page: Page, model: str) -> Locator:
    """The line of a loaded model on the Fleet page."""
    return page.locator("ul.loaded > li").filter(has=page.locator(f"b:text-is('{model}')"))


def open_menu(page: Page, model: str) -> Locator:
    """Open a loaded model's menu."""
    line = row(page, model)
    line.locator("summary").click()
    return line.locator("details")


def last_operation(page: Page) -> dict[str, Any]:
    """The newest operation, by REST."""
    answer = page.request.get("/api/v1/operations", params={"sort": "-id", "per_page": "1"})
    found: dict[str, Any] = answer.json()["items"][0]
    return found


def finish(page: Page) -> dict[str, Any]:
    """The newest operation once it has ended."""
    ended = {"succeeded", "failed", "cancelled"}
    wait_until(lambda: last_operation(page)["state"] in ended, "the operation has ended")
    return last_operation(page)


def add_user(admin: Page, name: str, role: str = "member") -> str:
    """Add a user by clicking; the password that the panel made and shows once."""
    admin.goto("/users/new/")
    admin.get_by_label("Name").fill(name)
    admin.get_by_label("Role").select_option(role)
    admin.get_by_role("button", name="Add").click()
    return admin.get_by_label("Password").input_value()


def bar_width(page: Page, model: str) -> float:
    """The width of a model's part of the VRAM bars, in pixels."""
    width: float = page.evaluate(BAR_WIDTH, model)
    return width


def whole_bar_width(page: Page) -> float:
    """The width of the first VRAM bar, in pixels: all of its GPU's memory."""
    width: float = page.locator("#fleet-hosts svg.vram").first.evaluate("(bar) => bar.getBoundingClientRect().width")
    return width


def used_width(page: Page) -> float:
    """The width of all that is used in the VRAM bars, in pixels."""
    width: float = page.evaluate(USED_WIDTH)
    return width
