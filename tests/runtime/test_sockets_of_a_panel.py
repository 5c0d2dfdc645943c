"""The live socket of a panel that really runs: who is let in over the wire, and how it ends."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.fixtures.panels import StartPanel
from tests.panels import Panel

NOT_SIGNED_IN, POLICY_VIOLATION, SERVICE_RESTART, TOO_BIG = 4401, 1008, 1012, 1009
ANSWER_SECONDS = 20


def cookies_of(panel: Panel) -> str:
    with panel.signed_in() as browser:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)


def call(panel: Panel, cookies: str = "", origin: str = "") -> ClientConnection:
    headers = {"Cookie": cookies} if cookies else {}
    address = f"ws://127.0.0.1:{panel.port}/live/fleet/"
    return connect(address, additional_headers=headers, origin=origin or panel.url, open_timeout=ANSWER_SECONDS)  # type: ignore[arg-type]


def code_of_the_end(caller: ClientConnection) -> int | None:
    """Listen until the panel closes the socket; the code it gave."""
    with suppress(ConnectionClosed):
        for _ in caller:
            pass
    return caller.close_code


def test_a_visitor_is_turned_away_with_a_code_of_its_own(empty_panel: Panel) -> None:
    with call(empty_panel) as caller:
        assert code_of_the_end(caller) == NOT_SIGNED_IN


def test_a_page_of_another_site_cannot_use_the_cookie(empty_panel: Panel) -> None:
    with pytest.raises(InvalidStatus) as refused:
        call(empty_panel, cookies_of(empty_panel), origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_a_signed_in_browser_gets_the_screen_and_then_what_changes(empty_panel: Panel) -> None:
    with call(empty_panel, cookies_of(empty_panel)) as caller:
        first = json.loads(caller.recv(timeout=ANSWER_SECONDS))
        assert first["after"] is None
        assert "fleet-head" in first["fragments"]
        assert json.loads(caller.recv(timeout=ANSWER_SECONDS))["after"] == first["revision"]


@pytest.mark.parametrize(("sent", "code"), [("hello", POLICY_VIOLATION), ("x" * 100_000, TOO_BIG)])
def test_whoever_sends_is_cut_off(sent: str, code: int, empty_panel: Panel) -> None:
    with call(empty_panel, cookies_of(empty_panel)) as caller:
        caller.recv(timeout=ANSWER_SECONDS)
        caller.send(sent)
        assert code_of_the_end(caller) == code


def test_browsers_that_vanish_do_not_disturb_those_that_stay(empty_panel: Panel) -> None:
    cookies = cookies_of(empty_panel)
    with call(empty_panel, cookies) as staying:
        for _ in range(5):
            with call(empty_panel, cookies) as vanishing:
                vanishing.recv(timeout=ANSWER_SECONDS)
                vanishing.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                vanishing.socket.close()
        revision = json.loads(staying.recv(timeout=ANSWER_SECONDS))["revision"]
        while json.loads(staying.recv(timeout=ANSWER_SECONDS))["revision"] <= revision:
            pass
    assert "Traceback" not in empty_panel.log_tail()


def test_a_panel_that_stops_tells_its_browsers(new_panel: StartPanel) -> None:
    panel = new_panel()
    panel.start()
    with call(panel, cookies_of(panel)) as caller:
        caller.recv(timeout=ANSWER_SECONDS)
        assert panel.stop() == 0
        assert code_of_the_end(caller) == SERVICE_RESTART
