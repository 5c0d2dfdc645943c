"""What a model holds in host RAM: as a managed server tells, and for a server of this machine by its processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from models_app.backends.protocol import ModelState, Observation, ResidentModel, ServerProcess, ServerState
from models_app.telemetry.resident import model_ram_bytes
from tests.factories import EndpointFactory, HostFactory
from tests.panels import free_port

pytestmark = pytest.mark.django_db
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
    assert model_ram_bytes(endpoint, "tiny", Observation((loaded,), server=ServerProcess(ServerState.RUNNING, 5))) == 1000
    assert model_ram_bytes(endpoint, "tiny", Observation(server=ServerProcess(ServerState.STOPPED))) == 0


def test_a_server_of_this_machine_is_found_by_its_port(listening: tuple[int, int]) -> None:
    port, pid = listening
    host = HostFactory(is_local=True)
    endpoint = EndpointFactory(host=host, kind="llama_server", mode="single", url=f"http://127.0.0.1:{port}")
    held = model_ram_bytes(endpoint, "tiny", Observation())
    assert held is not None
    assert held >= psutil.Process(pid).memory_info().rss // 2


def test_another_program_on_the_port_and_another_machine_tell_nothing() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    endpoint = EndpointFactory(host=HostFactory(is_local=True), kind="llama_server", mode="single", url=url)
    assert model_ram_bytes(endpoint, "tiny", Observation()) is None
    elsewhere = EndpointFactory(kind="llama_server", mode="single")
    assert model_ram_bytes(elsewhere, "tiny", Observation()) is None
