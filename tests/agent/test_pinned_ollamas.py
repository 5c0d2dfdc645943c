"""Ollama servers of the agent's file: on their GPUs, with their settings, through crashes and new agents."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from models_app.agent.config import BadConfig, Config, EndpointConfig
from models_app.agent.endpoints import Endpoints, Machine
from models_app.agent.messages import LocalEndpoint
from models_app.agent.pinned import KIND, PinnedOllamas, key_of, spec_of
from models_app.agent.supervision.server import Server
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends.errors import LoadFailed, NotAllowed
from models_app.backends.protocol import ServerProcess, ServerState
from tests.fixtures.managed import PORTS, QUICK, write_programs

SETTINGS: dict[str, Any] = {
    "gpus": ["GPU-1", "GPU-2"],
    "parallel": 2,
    "context_length": 8192,
    "most_loaded": 1,
    "keep_alive": "30m",
    "flash_attention": True,
    "kv_cache_type": "q8_0",
}
CONFIG = Config("ws://127.0.0.1/agent/", Path("/nowhere/secret.json"))
PATIENCE_SECONDS = 30.0


async def until(look: Callable[[], object]) -> None:
    """Return once a look tells something that is true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if look():
                return
            await asyncio.sleep(0.02)


@dataclass
class Owner:
    """A machine whose owner allows a fake Ollama."""

    root: Path

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.root / "managed.toml", self.root / "state", QUICK)

    def entry(self, **settings: Any) -> EndpointConfig:
        return EndpointConfig("ollama-0", KIND, {**SETTINGS, "models": str(self.root / "models"), **settings})

    def look(self) -> ServerProcess:
        return self.supervisor.server(key_of("ollama-0")).look()

    @asynccontextmanager
    async def agent(self, *entries: EndpointConfig) -> AsyncIterator[Endpoints]:
        """What an agent with this file does, as long as it runs."""
        config = replace(CONFIG, endpoints=entries)
        endpoints = Endpoints(Machine(config, self.supervisor))
        tended = PinnedOllamas(entries, self.supervisor, endpoints.backend)
        tending = asyncio.create_task(tended.tend())
        try:
            yield endpoints
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)
            await endpoints.aclose()

    async def until(self, state: ServerState, other_than: int | None = None) -> ServerProcess:
        """What is known of the server once it is in that state, in another process than one before."""

        def is_so() -> bool:
            found = self.look()
            return found.state is state and (other_than is None or found.process_id != other_than)

        await until(is_so)
        return self.look()


@pytest.fixture
def owner(tmp_path: Path) -> Any:
    write_programs(tmp_path)
    (tmp_path / "models").mkdir()
    allowed = f'model_folders = ["{tmp_path}/models"]\nports = {list(PORTS)}\n[ollama]\nfake = "{tmp_path}/ollama"\n'
    (tmp_path / "managed.toml").write_text(allowed)
    owner = Owner(tmp_path)
    yield owner
    for key in owner.supervisor.keys():  # noqa: SIM118 - a method of its own
        owner.supervisor.server(key).stop()


async def test_it_runs_on_its_gpus_and_outlives_agents_and_crashes(owner: Owner) -> None:
    async with owner.agent(owner.entry()) as endpoints:
        assert endpoints.announced() == (LocalEndpoint("ollama-0", "ollama"),)
        running = await owner.until(ServerState.RUNNING)
        assert [served.port for served in endpoints.served()] == [running.port]
        assert len(await (await endpoints.backend("ollama-0")).installed()) > 0
    told = json.loads(owner.supervisor.server(key_of("ollama-0")).log_tail(1000)[0])
    assert told == {
        "argv": ["serve"],
        "CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2",
        "OLLAMA_HOST": f"127.0.0.1:{running.port}",
        "OLLAMA_MODELS": str(owner.root / "models"),
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "30m",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
    }
    async with owner.agent(owner.entry()) as endpoints:
        await until(endpoints.served)
        await (await endpoints.backend("ollama-0")).identify()
        assert owner.look().process_id == running.process_id
        os.kill(running.process_id or 0, signal.SIGKILL)
        await until(lambda: owner.supervisor.tick() or owner.look().process_id not in (None, running.process_id))
        assert (await owner.until(ServerState.RUNNING)).restarts == 1


async def test_new_settings_start_it_anew_and_without_an_entry_it_is_stopped(owner: Owner) -> None:
    async with owner.agent(owner.entry()):
        first = await owner.until(ServerState.RUNNING)
    async with owner.agent(owner.entry(parallel=4)):
        assert (await owner.until(ServerState.RUNNING, other_than=first.process_id)).process_id
    async with owner.agent():
        assert (await owner.until(ServerState.STOPPED)).process_id is None


async def test_one_that_cannot_be_stopped_ends_no_agent(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    async with owner.agent(owner.entry()):
        await owner.until(ServerState.RUNNING)

    def survive(_: Server) -> None:
        raise LoadFailed("It survives even SIGKILL.")

    monkeypatch.setattr(Server, "forget", survive)
    await PinnedOllamas((), owner.supervisor, Endpoints(Machine(CONFIG, owner.supervisor)).backend).tend()
    assert owner.look().state is ServerState.RUNNING


def test_only_what_the_owner_lists_is_started(owner: Owner) -> None:
    for wrong in ({"binary": "other"}, {"models": "/etc"}):
        with pytest.raises(NotAllowed):
            owner.supervisor.check(spec_of(owner.entry(**wrong)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpus": ["GPU-1", "GPU-1"]},
        {"keep_alive": "soon"},
        {"parallel": 0},
        {"url": "x"},
        {"kv_cache_type": 8},
    ],
)
def test_an_entry_that_makes_no_sense_is_an_error_of_the_file(owner: Owner, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match=r"endpoints\.ollama-0"):
        spec_of(owner.entry(**wrong))
