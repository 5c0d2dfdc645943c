"""A server that Berth starts itself, by clicking: added, started, killed, stopped, removed; and its pages scanned."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import OVERFLOWING, violations
from tests.fixtures.browser import Visits
from tests.fixtures.managed import FAKE_SERVER
from tests.fixtures.panels import StartPanel
from tests.panels import Panel

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def panel(start_panel: StartPanel) -> Panel:
    """A panel on a machine without GPUs, whose owner allows a fake llama-server and one model."""
    panel = start_panel(BERTH_DISCOVERY="0")
    program, models = panel.data / "llama-server", panel.data / "models"
    models.mkdir()
    (models / "tiny.gguf").write_bytes(b"GGUF" + bytes(996))
    program.write_text(f"#!{sys.executable}\n" + FAKE_SERVER.read_text(encoding="utf-8"))
    program.chmod(0o755)
    allowed = f'model_folders = ["{models}"]\nports = [20000, 29999]\n[llama_server]\nfake = "{program}"\n'
    (panel.data / "managed.toml").write_text(allowed)
    return panel


def scan(page: Page) -> None:
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(OVERFLOWING) == []
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_server_is_added_started_killed_stopped_and_removed_by_clicking(panel: Panel, visits: Visits) -> None:
    page = visits.person(panel)
    page.goto("/hosts/")
    page.get_by_role("link", name="Add a managed server").click()
    scan(page)
    page.get_by_role("link", name="Choose tiny.gguf").click()
    page.get_by_label("Context, tokens").fill("1024")
    scan(page)
    page.get_by_role("button", name="Add the server").click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    address = page.url
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Succeeded")).to_be_visible()
    expect(page.get_by_text("loading model")).to_be_visible()
    expect(page.get_by_text("Measured on the model's own process.")).to_be_visible()
    page.goto(address)
    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    scan(page)
    pid = int(re.findall(r"pid (\d+)", page.content())[0])
    os.kill(pid, signal.SIGKILL)
    expect(page.get_by_text("was ended by signal 9")).to_be_visible()
    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    page.get_by_role("link", name="Edit").click()
    scan(page)
    page.goto(address)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="Succeeded")).to_be_visible()
    page.goto(f"{address}remove/")
    scan(page)
    page.get_by_role("button", name="Stop and remove").click()
    expect(page.get_by_text("is stopped and removed")).to_be_visible()
