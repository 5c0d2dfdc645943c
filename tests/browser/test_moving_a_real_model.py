"""Load, swap and unload on a real llama-server by clicking, while the VRAM bar follows the server's memory."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import steps
from tests.fixtures.browser import Visits
from tests.fixtures.real_servers import RealServer
from tests.panels import Panel, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.real]


def test_the_bar_grows_with_a_load_and_shrinks_with_an_unload_without_a_reload(
    real_panel: Panel, real_machine: tuple[RealServer, dict[str, str]], visits: Visits
) -> None:
    server = real_machine[0]
    page = visits.stranger(real_panel)
    steps.log_in(page)
    steps.open_fleet(page)
    empty_bytes, empty_width = server.resident_bytes(), steps.used_width(page)

    steps.load(page, "m500")
    assert steps.finish(page)["verified_by"] == "process"
    assert server.resident_bytes() - empty_bytes > 400e6
    wait_until(lambda: steps.bar_width(page, "m500") > 50, "the bar shows m500")
    assert steps.used_width(page) > empty_width + 50

    steps.swap(page, "m500", "m100")
    wait_until(lambda: steps.bar_width(page, "m100") > 10, "the bar shows m100")
    wait_until(lambda: steps.bar_width(page, "m500") == 0, "m500 has left the bar")
    assert steps.finish(page)["state"] == "succeeded"

    steps.unload(page, "m100")
    assert steps.finish(page)["state"] == "succeeded"
    assert server.resident_bytes() - empty_bytes < 50e6
    wait_until(lambda: steps.bar_width(page, "m100") == 0, "m100 has left the bar")
    steps.expect_same_document(page)
    expect(page.locator("#fleet-operations > li")).to_have_count(3)
