"""What the live pages show to those who watch, while the panel comes, goes and changes its mind about them."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.panels import Panel

pytestmark = pytest.mark.browser

MODEL, OTHER = "llama3.2:3b", "llama3.1:8b"


@pytest.fixture(autouse=True)
def nothing_loaded(ollama_process: str) -> Iterator[None]:
    yield
    for model in httpx.get(f"{ollama_process}/api/ps").json()["models"]:
        httpx.post(f"{ollama_process}/api/generate", json={"model": model["name"], "keep_alive": 0, "stream": False})


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    return {}


@pytest.fixture
def admin(ollama_panel: Panel, visits: Visits) -> Page:
    return visits.person(ollama_panel)


@pytest.fixture
def member(ollama_panel: Panel, visits: Visits, admin: Page, passwords: dict[str, str]) -> Page:
    if "max" not in passwords:
        passwords["max"] = steps.add_user(admin, "max")
    return visits.person(ollama_panel, "max", passwords["max"])


def load_elsewhere(ollama: str, model: str) -> None:
    """Load a model as another client of the server would."""
    httpx.post(f"{ollama}/api/generate", json={"model": model, "stream": False}, timeout=60).raise_for_status()


def test_a_member_sees_a_load_live_and_has_no_buttons(admin: Page, member: Page) -> None:
    steps.open_fleet(member)
    steps.open_fleet(admin)
    steps.load(admin, MODEL)
    expect(steps.row(member, MODEL)).to_contain_text("by admin")
    expect(member.locator("#fleet-operations")).to_contain_text(f"Load {MODEL}")
    steps.expect_same_document(member)
    buttons = member.locator("main").get_by_role("button").or_(member.locator("main summary"))
    expect(buttons).to_have_count(0)
    expect(steps.row(admin, MODEL).get_by_role("button")).not_to_have_count(0)


AS_A_FRESH_PAGE = """async () => {
    const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const told = (page) => [...page.querySelectorAll("article.host, #fleet-head")].map((part) => {
        const copy = document.importNode(part, true);
        for (const clock of copy.querySelectorAll("[data-until]")) clock.textContent = "";
        return copy.outerHTML;
    });
    return JSON.stringify(told(document)) === JSON.stringify(told(fresh));
}"""


def test_a_page_that_was_kept_up_by_patches_is_as_a_fresh_one(admin: Page, member: Page, ollama_process: str) -> None:
    steps.open_fleet(member)
    load_elsewhere(ollama_process, OTHER)
    expect(steps.row(member, OTHER)).to_be_visible()
    load_elsewhere(ollama_process, MODEL)
    expect(steps.row(member, MODEL)).to_be_visible()
    member.wait_for_function(AS_A_FRESH_PAGE, polling=200)
    steps.expect_same_document(member)


LIKE_A_TRANSLATOR = """() => setInterval(() => {
    for (const text of document.querySelectorAll("article.host h2:not(:has(font))"))
        text.append(document.createElement("font"));
}, 50)"""


def test_a_page_that_an_extension_keeps_changing_is_kept_up_all_the_same(admin: Page, ollama_process: str) -> None:
    """Patches do not fit it, so that it asks for whole fragments in the end."""
    steps.open_fleet(admin)
    with admin.expect_websocket(lambda socket: socket.url.endswith("?whole"), timeout=steps.MOVE_MILLISECONDS) as asking:
        admin.evaluate(LIKE_A_TRANSLATOR)
    load_elsewhere(ollama_process, MODEL)
    expect(steps.row(admin, MODEL)).to_be_visible()
    load_elsewhere(ollama_process, OTHER)
    expect(steps.row(admin, OTHER)).to_be_visible()
    assert not asking.value.is_closed()


def test_a_changed_keep_alive_shows_at_once(admin: Page) -> None:
    steps.open_fleet(admin)
    steps.load(admin, MODEL)
    expect(steps.row(admin, MODEL)).to_contain_text("unloads in")
    steps.open_menu(admin, MODEL).get_by_role("link", name="Keep-alive…").click()
    admin.locator("#dialog").get_by_label("Stays when idle for").fill("forever")
    admin.locator("#dialog").get_by_role("button", name="Change").click()
    expect(steps.row(admin, MODEL)).to_contain_text("for ever")
    steps.expect_same_document(admin)


def test_a_keep_alive_that_is_no_duration_is_refused_in_the_dialog(admin: Page) -> None:
    steps.open_fleet(admin)
    steps.load(admin, MODEL)
    steps.open_menu(admin, MODEL).get_by_role("link", name="Keep-alive…").click()
    admin.locator("#dialog").get_by_label("Stays when idle for").fill("soon")
    admin.locator("#dialog").get_by_role("button", name="Change").click()
    expect(admin.locator("#dialog .error")).to_be_visible()
    expect(admin.locator("#dialog").get_by_label("Stays when idle for")).to_have_value("soon")


def test_what_another_client_loads_appears_by_itself(admin: Page, ollama_process: str) -> None:
    steps.open_fleet(admin)
    load_elsewhere(ollama_process, OTHER)
    expect(steps.row(admin, OTHER)).to_contain_text("by another client")
    steps.expect_same_document(admin)


def test_the_fit_beside_a_load_is_reckoned_anew_once_it_is_done(admin: Page, ollama_process: str) -> None:
    steps.open_fleet(admin)
    steps.load(admin, OTHER)
    expect(admin.locator("#load-panel")).to_contain_text("It is in memory there already")


def test_on_paper_there_is_what_is_loaded_and_nothing_to_press(admin: Page, ollama_process: str) -> None:
    load_elsewhere(ollama_process, OTHER)
    steps.open_fleet(admin)
    expect(steps.row(admin, OTHER).get_by_role("button", name="Unload")).to_be_visible()
    admin.emulate_media(media="print")
    expect(steps.row(admin, OTHER)).to_be_visible()
    expect(admin.get_by_role("button").locator("visible=true")).to_have_count(0)
    expect(admin.locator("nav").locator("visible=true")).to_have_count(0)
    admin.emulate_media(media="screen")


def test_a_panel_that_hangs_makes_the_page_say_how_old_it_is(admin: Page, ollama_panel: Panel) -> None:
    steps.open_fleet(admin)
    status = admin.locator("#live-status")
    assert ollama_panel.process
    ollama_panel.process.send_signal(signal.SIGSTOP)
    try:
        expect(status).to_have_attribute("data-state", "stale")
        age = status.text_content()
        expect(status).to_have_text(re.compile(r"stale for \d+ s"))
        expect(status).not_to_have_text(age or "")  # it goes on counting without the panel
        expect(status.get_by_role("status")).to_have_text("stale")  # which is read out, once
    finally:
        ollama_panel.process.send_signal(signal.SIGCONT)
    steps.expect_live(admin)
    steps.expect_same_document(admin)


def test_a_lost_socket_comes_back_with_what_happened_meanwhile(
    admin: Page, ollama_panel: Panel, ollama_process: str, visits: Visits
) -> None:
    steps.open_fleet(admin)
    assert ollama_panel.stop() == 0
    expect(admin.locator("#live-status")).to_have_text(re.compile(r"reconnecting( for \d+ s)?"))
    load_elsewhere(ollama_process, OTHER)
    ollama_panel.start()
    steps.expect_live(admin)
    expect(steps.row(admin, OTHER)).to_be_visible()
    steps.expect_same_document(admin)
    visits.forgive("WebSocket connection")


def test_whoever_loses_their_access_is_shown_the_door_within_five_seconds(
    admin: Page, member: Page, passwords: dict[str, str]
) -> None:
    steps.open_fleet(member)
    admin.goto("/users/")
    admin.get_by_role("link", name="max").click()
    admin.get_by_role("link", name="Deactivate…").click()
    admin.locator("#dialog").get_by_role("button", name="Deactivate").click()
    expect(member.get_by_role("button", name="Log in")).to_be_visible(timeout=5_000)
    passwords.clear()


def test_an_admin_who_becomes_a_member_loses_the_buttons_within_five_seconds(
    admin: Page, ollama_panel: Panel, visits: Visits
) -> None:
    other = visits.person(ollama_panel, "ada", steps.add_user(admin, "ada", "admin"))
    steps.open_fleet(other)
    expect(other.locator("#load-panel")).to_be_visible()
    admin.goto("/users/")
    admin.get_by_role("link", name="ada").click()
    admin.get_by_role("combobox", name="Role").select_option("member")
    admin.get_by_role("button", name="Save the role").click()
    expect(other.locator("#load-panel")).to_have_count(0, timeout=5_000)
    steps.expect_live(other)


AFTER_A_QUIET_MINUTE = """async () => {
    const { startLive } = await import("/static/js/live.js");
    const sockets = [], real = [WebSocket, Date.now];
    let now = 0;
    window.WebSocket = class { constructor() { sockets.push(this); } close() {} };
    Date.now = () => now;
    const live = startLive({ afterChange: () => {} });
    const hear = (after) => sockets.at(-1).onmessage({ data: JSON.stringify(
        { revision: 1, after, topics: [], fragments: {}, patches: {}, lists: {} }) });
    const waits = [];
    hear(null); hear(7); hear(null); waits.push(live.failures);
    now = 61000;
    hear(null); waits.push(live.failures);
    [window.WebSocket, Date.now] = real;
    return waits;
}"""


def test_a_gap_is_forgotten_after_a_quiet_minute(admin: Page) -> None:
    """Else every reconnecting of a page that is open for days would wait as if it were the tenth."""
    steps.open_fleet(admin)
    assert admin.evaluate(AFTER_A_QUIET_MINUTE) == [1, 0]
