"""Load, swap and unload on a real llama-server by clicking, while the VRAM bar follows the server's memory."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.fixtures.panels import Panel
from tests.fixtures.real_servers import RealServer

pytestmark = [pytest.mark.browser, pytest.mark.real]


def test_the_bar_grows_with_a_load_and_shrinks_with_an_unload_without_a_reload(
    real_panel: Panel, router_server: RealServer, visits: Visits
) -> None:
    page = visits.stranger(real_panel)
    steps.log_in(page)
    steps.open_fleet(page)
    empty_bytes, empty_width = router_server.resident_bytes(), steps.used_width(page)

    steps.load(page, "m500")
    assert steps.finish(page)["verified_by"] == "process"
    assert router_server.resident_bytes() - empty_bytes > 400e6
    page.wait_for_function(f"({steps.BAR_WIDTH})('m500') > 50")
    assert steps.used_width(page) > empty_width + 50

    steps.swap(page, "m500", "m100")
    page.wait_for_function(f"({steps.BAR_WIDTH})('m100') > 10")
    assert steps.bar_width(page, "m500") == 0
    assert steps.finish(page)["state"] == "succeeded"

    steps.unload(page, "m100")
    assert steps.finish(page)["state"] == "succeeded"
    assert router_server.resident_bytes() - empty_bytes < 50e6
    assert steps.bar_width(page, "m100") == 0
    steps.expect_same_document(page)
    expect(page.locator("#fleet-operations > li")).to_have_count(3)
