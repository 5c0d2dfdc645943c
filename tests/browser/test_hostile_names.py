"""A model may be called anything; a page shows its name as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Dialog, expect

from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.fixtures.real_servers import StartServer
from tests.panels import Panel, add_endpoint

pytestmark = [pytest.mark.browser, pytest.mark.real]

NAMES = (
    "<img src=x onerror=alert(1)>",
    '" autofocus onfocus=alert(1) x="',
    "{{ 7 * 7 }}{% debug %}",
    "javascript:alert(1)",
    "a-name-without-a-space-that-is-longer-than-a-phone-is-wide-" + "x" * 120,
)


def test_hostile_names_are_shown_as_they_are(
    empty_panel: Panel, start_llama_server: StartServer, model_files: dict[str, Path], tmp_path: Path, visits: Visits
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.gguf").symlink_to(model_files["tiny-llama"])
    add_endpoint(empty_panel, start_llama_server("--models-dir", str(folder)).url, "hostile")

    page = visits.person(empty_panel, viewport={"width": 390, "height": 844})
    dialogs: list[Dialog] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    page.goto("/models/")
    for name in NAMES:
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    steps.open_fleet(page)
    for name in NAMES[:2]:
        steps.choose_model(page, name).get_by_role("button", name="Load", exact=True).click()
        expect(page.locator("ul.loaded b").get_by_text(name, exact=True)).to_be_visible(timeout=steps.MOVE_MILLISECONDS)
    page.goto("/operations/")
    expect(page.get_by_text(f"Load {NAMES[0]}").first).to_be_visible()
    assert dialogs == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
