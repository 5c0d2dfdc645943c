"""Every page of the panel: accessible in light and dark, narrow enough for a phone, quiet in the browser's console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from models_app.web.urls import urlpatterns
from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.panels import Panel, admit_agent, wait_until

pytestmark = pytest.mark.browser

AXE = next((Path(__file__).parent / "vendor").glob("axe-*.min.js")).read_text(encoding="utf-8")
SCAN = """async (options) => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"], ...options });
    return violations.flatMap(({ id, impact, nodes }) => nodes.map(({ html }) => `${impact} ${id}: ${html.slice(0, 200)}`));
}"""
OVERFLOWING = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 120))"""

FIRST = {"host_id": 1, "endpoint_id": 1, "model_id": 1, "installation_id": 1, "user_id": 1, "operation_id": 1} | {
    "agent_id": 1,
    "alert_id": 1,
    "receiver_id": 1,
    "demand_id": 1,
    "plan_id": 1,
    "schedule_id": 1,
}
"""Rows of the demo that are always there; a loaded model and a token are looked up."""
ONLY_POSTED_TO = {
    "operation_cancel",
    "loaded_model",
    "host_look",
    "host_bring_back",
    "server_start",
    "host_endpoint_look",
    "plan_make",
    "plan_enforcement",
    "plan_demand_wake",
    "plan_what_if",
    "user_role",
    "user_reactivate",
    "logout",
    "alert_acknowledge",
    "alert_unmute",
    "alert_receiver_test",
}
OF_MANAGED_SERVERS = {
    "server",
    "server_edit",
    "server_remove",
    "server_start",
    "server_stop",
    "server_restart",
    "ollama_add",
}
"""The demo has none: ``test_managed_servers`` scans them."""
DOWNLOADS = {"plan_demand_export", "plan_export"}
PAGES = [pattern.name for pattern in urlpatterns if pattern.name not in ONLY_POSTED_TO | OF_MANAGED_SERVERS | DOWNLOADS]
DIALOGS = {
    "swap": ("/", "Swap…"),
    "load": ("/operations/", "Load a model"),
    "remove a host": ("/hosts/", "Remove"),
    "revoke an agent": ("/hosts/", "Revoke the agent"),
    "delete a model": ("/models/1/", "Delete…"),
    "mute an alert": ("/alerts/", "Mute…"),
    "delete a demand": ("/plans/", "Delete…"),
    "reset a password": ("/users/1/", "Reset password…"),
}


AT_ONCE = {"is_on": "on", "raise_at": 3, "clear_at": 1, "for_seconds": 0}
"""Limits of a rule that waits for nothing."""
SCHEDULE = {"name": "night", "cron": "0 20 * * 1-5", "time_zone": "UTC", "what": "demand-1", "when_busy": "wait"}


@pytest.fixture(scope="module")
def busy_panel(demo_panel: Panel) -> Panel:
    """The demo with rows of every kind: a second user, a token, and an operation that has ended."""
    with demo_panel.signed_in() as browser:
        loaded = browser.get("/api/v1/loaded-models", params={"endpoint": "atlas-ollama"}).json()["items"][0]
        kept = {"kind": "set_keep_alive", "keep_alive": "1h", "confirmed": "1"}
        for path, form in (
            ("/alerts/rules/cpu_fallback/", AT_ONCE),
            ("/users/new/", {"username": "max", "role": "member"}),
            ("/plans/make/", {"name": "first"}),
            ("/plans/make/", {"name": "second"}),
            ("/plans/schedules/new/", SCHEDULE),
            ("/account/tokens/", {"name": "script", "scope": "read", "days": ""}),
            (
                "/alerts/receivers/add/",
                {"name": "pager", "kind": "email", "address": "a@b.org", "least_severity": "notice"},
            ),
            ("/operations/", kept | {"endpoint": loaded["endpoint_id"], "model": loaded["name"]}),
        ):
            browser.post(path, data=form).raise_for_status()
        admit_agent(demo_panel, browser, 1)
        # The demo has a model that lies partly on the CPU.
        wait_until(lambda: browser.get("/api/v1/alerts").json()["items"], "the demo's alert is raised")
    return demo_panel


def address(page: Page, name: str) -> str:
    """The address of the page of that name, about a row that is there."""
    path = next(str(pattern.pattern) for pattern in urlpatterns if pattern.name == name)
    rows = {"loaded_id": loaded_id(page), "token_id": 1} | FIRST
    for row, number in rows.items():
        path = path.replace(f"<int:{row}>", str(number))
    return f"/{path}".replace("<slug:rule_name>", "vram_full")


def loaded_id(page: Page) -> int:
    answer = page.request.get("/api/v1/loaded-models", params={"per_page": "1"})
    return int(answer.json()["items"][0]["id"])


def violations(page: Page) -> list[Any]:
    """What axe finds wrong, in the light and in the dark."""
    page.evaluate(AXE)
    found: list[Any] = page.evaluate(SCAN, {})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    return found + page.evaluate(SCAN, {"runOnly": ["color-contrast"]})


def opened(page: Page, name: str) -> None:
    answer = page.goto(address(page, name))
    assert answer
    assert answer.status == 200, f"{page.url}: {answer.status}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_in_light_and_dark_and_fits_a_phone(name: str, busy_panel: Panel, visits: Visits) -> None:
    page = visits.person(busy_panel)
    opened(page, name)
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize(
    "path",
    [
        "/models/together/?variant=1&variant=2&variant=5&variant=8",
        "/load/?model=deepseek-r1:32b&endpoint=1&requests_per_hour=6",
    ],
)
def test_an_answer_is_accessible_and_fits_a_phone(path: str, busy_panel: Panel, visits: Visits) -> None:
    page = visits.person(busy_panel)
    page.goto(path)
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("dialog", DIALOGS)
def test_a_dialog_is_accessible_in_light_and_dark(dialog: str, busy_panel: Panel, visits: Visits) -> None:
    page = visits.person(busy_panel)
    where, link = DIALOGS[dialog]
    page.goto(where)
    page.get_by_role("link", name=link).first.click()
    expect(page.locator("#dialog")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/hosts/",
        "/models/",
        "/models/together/",
        "/operations/",
        "/load/",
        "/models/pull/",
        "/alerts/",
        "/alerts/receivers/",
    ],
)
def test_a_page_with_nothing_on_it_is_accessible(path: str, empty_panel: Panel, visits: Visits) -> None:
    page = visits.person(empty_panel)
    page.goto(path)
    assert violations(page) == []


def test_the_door_and_a_missing_page_are_accessible(empty_panel: Panel, visits: Visits) -> None:
    page = visits.stranger(empty_panel)
    page.goto("/login/")
    assert violations(page) == []
    steps.log_in(page)
    page.goto("/no-such-page/")
    assert violations(page) == []


def test_the_browsable_api_shows_its_operations(empty_panel: Panel, visits: Visits) -> None:
    page = visits.person(empty_panel)
    page.goto("/api/docs")
    expect(page.get_by_text("/api/v1/operations", exact=True).first).to_be_visible()
    expect(page.get_by_role("link", name="Fleet")).to_be_visible()
