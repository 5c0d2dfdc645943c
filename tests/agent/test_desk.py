"""What the panel asks is done once and within its time, and every end is told until it was heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from models_app.agent import codec, desk
from models_app.agent.calls import ENDPOINT_CALLS
from models_app.agent.desk import Desk
from models_app.agent.failures import error_of, failed
from models_app.agent.host_calls import HOST_CALLS
from models_app.agent.messages import MOST_BYTES, Ask, Done, Message, Part, Progressed, pack
from models_app.backends.errors import BackendError, NotFound, OutOfMemory, UnsupportedOption
from models_app.backends.protocol import InstalledModel, LoadOptions, Progress


class Backend:
    """A server that does what the test says, and counts."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.loads = 0
        self.models: list[InstalledModel] = []
        self.lines: tuple[str, ...] = ("one", "two", "three")

    async def load(self, name: str, options: LoadOptions) -> AsyncIterator[Progress]:
        self.loads += 1
        for line in self.lines:
            yield Progress("loading", lines=(line,))
        await self.go.wait()

    async def unload(self, name: str) -> None:
        raise OutOfMemory("no", hint="less")

    async def delete(self, name: str) -> None:
        raise RuntimeError("a secret path")

    async def installed(self) -> list[InstalledModel]:
        return self.models


class Rig:
    """A desk, what it said, and the backend behind it."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.backend = Backend()
        self.desk = Desk(self._target, self._hear)
        self._ended = asyncio.Condition()

    async def _target(self, name: str) -> Any:
        if name != "ollama":
            raise NotFound("no such endpoint")
        return self.backend

    def _hear(self, message: Message) -> None:
        pack(message)
        self.said.append(message)

    async def end_of(self, ask: Ask) -> Done:
        self.desk.ask(ask)
        async with asyncio.timeout(10):
            await asyncio.gather(*self.desk._tasks.values(), return_exceptions=True)
        return self.ends(ask.id)[-1]

    def ends(self, ask_id: int) -> list[Done]:
        return [message for message in self.said if isinstance(message, Done) and message.id == ask_id]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.desk.aclose()


LOAD = Ask(1, "load", "ollama", {"name": "tiny"})


async def test_one_id_is_done_once_however_often_it_is_asked(rig: Rig) -> None:
    rig.backend.go.set()
    await rig.end_of(LOAD)
    rig.desk.ask(LOAD)
    assert (rig.backend.loads, len(rig.ends(1))) == (1, 2)
    rig.desk.settle(1)
    rig.desk.ask(LOAD)
    assert rig.backend.loads == 1
    assert rig.ends(1)[-1].failed is not None


async def test_an_end_is_told_again_until_the_panel_has_heard_it(rig: Rig) -> None:
    rig.backend.go.set()
    end = await rig.end_of(LOAD)
    assert rig.desk.unsettled() == [end]
    assert rig.desk.running() == (1,)
    rig.desk.settle(1)
    assert rig.desk.unsettled() == []


async def test_a_cancelled_call_stops_and_says_so(rig: Rig) -> None:
    rig.desk.ask(LOAD)
    await asyncio.sleep(0)
    rig.desk.cancel(1)
    end = await rig.end_of(Ask(2, "installed", "ollama"))
    assert end.failed is None
    assert [end.failed.code for end in rig.ends(1) if end.failed] == ["cancelled"]


async def test_a_call_that_is_cancelled_before_it_has_begun_says_so_too(rig: Rig) -> None:
    rig.desk.ask(LOAD)
    rig.desk.cancel(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [end.failed.code for end in rig.ends(1) if end.failed] == ["cancelled"]
    assert rig.backend.loads == 0
    rig.desk.settle(1)
    assert rig.desk.running() == ()


async def test_a_call_that_takes_too_long_is_given_up(rig: Rig) -> None:
    end = await rig.end_of(Ask(1, "load", "ollama", {"name": "tiny"}, seconds=0.01))
    assert end.failed is not None
    assert end.failed.code == "endpoint_timed_out"


async def test_no_line_of_a_log_is_lost_between_reports(rig: Rig) -> None:
    rig.backend.go.set()
    await rig.end_of(LOAD)
    lines = [line for message in rig.said if isinstance(message, Progressed) for line in message.progress.lines]
    assert lines == ["one", "two", "three"]


async def test_a_burst_of_long_lines_ends_no_load(rig: Rig) -> None:
    rig.backend.go.set()
    rig.backend.lines = tuple(f"{number:03} " + "€" * 500 for number in range(200))
    assert (await rig.end_of(LOAD)).failed is None
    told = [line for message in rig.said if isinstance(message, Progressed) for line in message.progress.lines]
    assert told[-1].startswith("199 "), "of too many lines the latest are told"


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (Ask(1, "unload", "ollama", {"name": "x"}), "out_of_memory"),
        (Ask(1, "delete", "ollama", {"name": "x"}), "agent_fault"),
        (Ask(1, "load", "elsewhere", {"name": "x"}), "model_not_found"),
        (Ask(1, "load", "ollama"), "endpoint_rejected"),
        (Ask(1, "load", "ollama", {"name": 7}), "endpoint_rejected"),
        (Ask(1, "run_shell", "ollama", {"line": "rm -rf /"}), "endpoint_rejected"),
        (Ask(1, "load"), "endpoint_rejected"),
        (Ask(1, "sample", "ollama"), "endpoint_rejected"),
    ],
)
async def test_what_cannot_be_done_says_why(ask: Ask, code: str, rig: Rig) -> None:
    end = await rig.end_of(ask)
    assert end.failed is not None
    assert end.failed.code == code
    assert "secret" not in end.failed.message


async def test_a_long_answer_comes_in_parts_that_fit(rig: Rig) -> None:
    rig.backend.models = [InstalledModel(f"modell-ä-{number}", "d" * 60) for number in range(2000)]
    end = await rig.end_of(Ask(1, "installed", "ollama"))
    parts = [message for message in rig.said if isinstance(message, Part)]
    assert end.parts == len(parts) > 1
    assert all(len(pack(part).encode()) <= MOST_BYTES for part in parts)
    whole = codec.loads("".join(part.text for part in parts))
    assert codec.decode(list[InstalledModel], whole) == rig.backend.models


async def test_more_than_an_agent_can_do_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MOST_RUNNING", 2)
    for number in range(1, 4):
        rig.desk.ask(Ask(number, "load", "ollama", {"name": "tiny"}))
    assert [end.failed.code for end in rig.ends(3) if end.failed] == ["endpoint_busy"]


def test_errors_come_back_as_they_were() -> None:
    error = UnsupportedOption("no", hint="leave it", status=400, option="gpu")
    again = error_of(failed(error))
    assert (type(again), again.message, again.hint, again.status) == (UnsupportedOption, "no", "leave it", 400)
    assert isinstance(again, UnsupportedOption)
    assert again.option == "gpu"
    assert type(error_of(failed(BackendError("odd")))) is BackendError


def test_the_set_of_calls_is_closed() -> None:
    questions = {"identify", "installed", "shape", "header", "observe"}
    orders = {"load", "unload", "set_keep_alive", "generate", "pull", "delete"}
    assert set(ENDPOINT_CALLS) == questions | orders
    servers = {"programs", "list_files", "read_file", "put_server", "forget_server", "server_log"}
    ollamas = {"ollama_choices", "put_ollama", "start_server", "stop_server"}
    assert set(HOST_CALLS) == {"sample"} | servers | ollamas
