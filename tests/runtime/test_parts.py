"""All parts of the embedded panel run, or none does."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from models_app.runtime import embedded
from models_app.runtime.lock import AlreadyRunning, data_folder_lock
from models_app.runtime.part import Part


class Steady(Part):
    """Works until asked to stop."""

    def __init__(self) -> None:
        super().__init__("steady part")
        self.asked = threading.Event()

    def work(self) -> None:
        self.asked.wait()

    def ask_to_stop(self) -> None:
        self.asked.set()


class Breaking(Steady):
    """Does what it is told once it is told to: raise, or return without having been asked."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act
        self.now = threading.Event()

    def work(self) -> None:
        self.now.wait()
        self.act()


class Refusing(Steady):
    """Never comes up."""

    def start(self, on_end: Callable[[], object]) -> None:
        super().start(on_end)
        raise TimeoutError("it did not come up")


def fail() -> None:
    raise ValueError("broken")


def leave() -> None:
    return


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize(("act", "words"), [(fail, "broken"), (leave, "ended by itself")])
async def test_a_part_that_ends_ends_the_others_and_is_told(
    act: Callable[[], None], words: str, listener: socket.socket
) -> None:
    steady, breaking = Steady(), Breaking(act)
    crash = await embedded.serve(embedded.WebServer(breaking.now.set), listener, [steady, breaking])
    assert words in str(crash)
    assert steady.asked.is_set()
    assert steady.crashed is None
    assert listener.fileno() == -1


async def test_a_clean_stop_is_no_crash(listener: socket.socket) -> None:
    ready = asyncio.Event()
    steady, web = Steady(), embedded.WebServer(ready.set)
    serving = asyncio.create_task(embedded.serve(web, listener, [steady]))
    await ready.wait()
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/healthz")
    assert answer.json() == {"status": "alive"}
    web.should_exit = True
    assert await serving is None
    assert steady.asked.is_set()


async def test_a_part_that_does_not_come_up_stops_those_that_did(listener: socket.socket) -> None:
    steady = Steady()
    with pytest.raises(TimeoutError, match="did not come up"):
        await embedded.serve(embedded.WebServer(leave), listener, [steady, Refusing()])
    assert steady.asked.is_set()


def test_a_data_folder_has_one_panel_at_a_time(tmp_path: Path) -> None:
    with (
        data_folder_lock(tmp_path),
        pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"),
        data_folder_lock(tmp_path),
    ):
        pass
    with data_folder_lock(tmp_path):
        assert (tmp_path / "panel.lock").read_text() == f"{os.getpid()}\n"
