"""Servers that Berth starts itself, by clicking: added, started, killed, stopped, removed; and their pages scanned."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import OVERFLOWING, violations
from tests.fixtures.browser import Visits
from tests.fixtures.managed import write_programs
from tests.fixtures.panels import StartPanel
from tests.panels import Panel

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def panel(start_panel: StartPanel) -> Panel:
    """A panel on a machine without GPUs, whose owner allows fake programs and one model."""
    panel = start_panel(BERTH_DISCOVERY="0")
    models = panel.data / "models"
    models.mkdir()
    (models / "tiny.gguf").write_bytes(b"GGUF" + bytes(996))
    write_programs(panel.data)
    allowed = f'model_folders = ["{models}"]\nports = [20000, 29999]\n[llama_server]\nfake = "{panel.data}/llama-server"\n'
    (panel.data / "managed.toml").write_text(f'{allowed}[ollama]\nfake = "{panel.data}/ollama"\n')
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


def test_an_ollama_is_added_started_changed_and_stopped_by_clicking(panel: Panel, visits: Visits) -> None:
    page = visits.person(panel)
    page.goto("/hosts/")
    page.get_by_role("link", name="Add an Ollama").click()
    scan(page)
    page.get_by_label("Name of the server").fill("ollama-0")
    page.get_by_label("Models at once").fill("1")
    page.get_by_role("button", name="Add the Ollama").click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
    scan(page)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Running")).to_be_visible()
    expect(page.get_by_text("OLLAMA_MAX_LOADED_MODELS")).to_be_visible()
    scan(page)
    page.get_by_role("link", name="Edit").click()
    scan(page)
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("link", name="Stop…").click()
    expect(page.get_by_text("It has no model in memory.")).to_be_visible()
    scan(page)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("heading", name="Stopped")).to_be_visible()
