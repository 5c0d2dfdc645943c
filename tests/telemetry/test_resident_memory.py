"""What a model holds in host RAM: as a managed server tells, and for a server of this machine by its processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from models_app.backends.protocol import ModelState, Observation, ResidentModel, ServerProcess, ServerState
from models_app.inventory.models import Endpoint
from models_app.inventory.routes import agent_url
from models_app.probes import servers
from models_app.probes.types import HostSample, ServerProcesses, Worker
from models_app.simulation.devices import MIB
from models_app.telemetry.resident import model_ram_bytes, without_process
from tests.factories import EndpointFactory, HostFactory, InstallationFactory
from tests.ports import free_port

pytestmark = pytest.mark.django_db
SAMPLE = HostSample("boot", 1, datetime(2026, 11, 21, tzinfo=UTC))
LISTEN = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The port and the pid of a program that is called llama-server."""
    port, program = free_port(), tmp_path / "llama-server"
    program.write_text(LISTEN)
    with subprocess.Popen([sys.executable, str(program), str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield port, process.pid
        process.kill()


def test_a_managed_server_tells_itself() -> None:
    endpoint = EndpointFactory(mode="managed")
    loaded = ResidentModel("tiny", ModelState.LOADED, host_ram_bytes=1000)
    running, stopped = ServerProcess(ServerState.RUNNING, 5), ServerProcess(ServerState.STOPPED)
    assert model_ram_bytes(endpoint, "tiny", Observation((loaded,), server=running), SAMPLE) == 1000
    assert model_ram_bytes(endpoint, "tiny", Observation(server=stopped), SAMPLE) == 0


def test_a_server_of_this_machine_is_found_by_its_port(listening: tuple[int, int]) -> None:
    port, pid = listening
    host = HostFactory(is_local=True)
    endpoint = EndpointFactory(host=host, kind="llama_server", mode="single", url=f"http://127.0.0.1:{port}")
    held = model_ram_bytes(endpoint, "tiny", Observation(), SAMPLE)
    assert held is not None
    assert held >= psutil.Process(pid).memory_info().rss // 2


def test_another_program_on_the_port_and_another_machine_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "process_named", lambda *_: None)
    url = f"http://127.0.0.1:{free_port()}"
    endpoint = EndpointFactory(host=HostFactory(is_local=True), kind="llama_server", mode="single", url=url)
    assert model_ram_bytes(endpoint, "tiny", Observation(), SAMPLE) is None
    elsewhere = EndpointFactory(kind="llama_server", mode="single")
    assert model_ram_bytes(elsewhere, "tiny", Observation(), SAMPLE) is None


@pytest.fixture
def behind_an_agent() -> Endpoint:
    host = HostFactory()
    endpoint = EndpointFactory(host=host, mode="ollama", url=agent_url(host.pk, "ollama"))
    for name, size_bytes in (("tiny:latest", 100 * MIB), ("large:latest", 900 * MIB)):
        InstallationFactory(endpoint=endpoint, name=name, size_bytes=size_bytes)
    return endpoint


def reported(*runners: Worker) -> HostSample:
    return replace(SAMPLE, servers=(ServerProcesses("ollama", 7, (Worker(7, ram_bytes=50 * MIB), *runners)),))


TINY = Worker(8, file_bytes=99 * MIB, ram_bytes=120 * MIB)
LARGE = Worker(9, file_bytes=899 * MIB, ram_bytes=950 * MIB)
BOTH = Observation((ResidentModel("tiny:latest", ModelState.LOADED), ResidentModel("large:latest", ModelState.LOADED)))


def test_an_agent_tells_what_the_runners_of_its_ollama_hold(behind_an_agent: Endpoint) -> None:
    seen = reported(TINY, LARGE)
    assert model_ram_bytes(behind_an_agent, "large:latest", BOTH, seen) == 950 * MIB
    gone = Observation(BOTH.resident[:1])
    assert model_ram_bytes(behind_an_agent, "large:latest", gone, reported(TINY)) == 0
    assert model_ram_bytes(behind_an_agent, "large:latest", BOTH, SAMPLE) is None


def test_an_agent_of_before_tells_nothing(behind_an_agent: Endpoint) -> None:
    silent = replace(LARGE, ram_bytes=None)
    assert model_ram_bytes(behind_an_agent, "large:latest", BOTH, reported(TINY, silent)) is None


def test_a_model_whose_runner_died_is_told_from_one_that_lives(behind_an_agent: Endpoint) -> None:
    names = ["tiny:latest", "large:latest"]
    assert without_process(behind_an_agent, names, reported(TINY, LARGE)) == set()
    assert without_process(behind_an_agent, names, reported(TINY)) == {"large:latest"}
    assert without_process(behind_an_agent, names, reported()) == {*names}
    assert without_process(behind_an_agent, names, reported(Worker(8, ram_bytes=MIB))) == set(), "whose it is, nobody knows"
    assert without_process(behind_an_agent, names, SAMPLE) == set()
