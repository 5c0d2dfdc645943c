"""Which processes serve which model: by registration, by the command lines of this machine, or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from asgiref.sync import sync_to_async

from models_app.inventory.models import Endpoint, Host
from models_app.probes.types import GpuProcess, GpuSample, HostSample
from models_app.simulation.devices import GIB, MIB
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import processes, sources
from models_app.telemetry.attribution import endpoint_bytes, model_bytes, shares_of
from models_app.telemetry.division import By
from tests.factories import EndpointFactory, HostFactory, InstallationFactory, LoadedModelFactory

pytestmark = pytest.mark.django_db

SERVER = (
    "import socket, subprocess, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
)
CHILD = "subprocess.Popen([sys.executable, '-c', 'input()', *sys.argv[{}].split()]); "


class LocalServer:
    """A process that listens and has children with the given command lines, like a router or an Ollama."""

    def __init__(self, program: Path, *child_arguments: str) -> None:
        script = SERVER + "".join(CHILD.format(number + 1) for number in range(len(child_arguments))) + "input()"
        command = [str(program), "-c", script, *child_arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def child(self, argument: str) -> GpuProcess:
        """The child with this argument, as the driver would list it, holding a GiB."""
        while True:
            for child in psutil.Process(self.pid).children():
                if argument in child.cmdline():
                    return GpuProcess(child.pid, GIB, child.name(), self.pid, child.create_time())

    def stop(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture
def local_server(tmp_path: Path) -> Iterator[Callable[..., LocalServer]]:
    servers: list[LocalServer] = []

    def start(*child_arguments: str, program: str = "llama-server") -> LocalServer:
        (tmp_path / program).symlink_to(sys.executable)
        servers.append(LocalServer(tmp_path / program, *child_arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def sample_of(*shown: GpuProcess) -> HostSample:
    used = sum(process.used_bytes or 0 for process in shown)
    card = GpuSample("GPU-0", 0, "RTX", total_bytes=24 * GIB, used_bytes=used, processes=shown)
    return HostSample("boot", 1, datetime(2026, 11, 21, tzinfo=UTC), (card,))


def local_endpoint(server: LocalServer, mode: str) -> Endpoint:
    kind = "ollama" if mode == "ollama" else "llama_server"
    host = HostFactory(is_local=True)
    return EndpointFactory(host=host, kind=kind, mode=mode, url=f"http://127.0.0.1:{server.port}")


def test_a_routers_children_are_known_by_their_alias(local_server: Any) -> None:
    server = local_server("--port 1 --alias tiny", "--alias=large")
    endpoint = local_endpoint(server, "router")
    for name in ("tiny", "large"):
        LoadedModelFactory(endpoint=endpoint, name=name)
    sample = sample_of(server.child("tiny"), server.child("--alias=large"), GpuProcess(1, MIB, "init"))
    assert model_bytes(endpoint, "tiny", sample) == {"GPU-0": GIB}
    assert model_bytes(endpoint, "large", sample) == {"GPU-0": GIB}
    assert model_bytes(endpoint, "absent", sample) == {}
    assert endpoint_bytes(endpoint, sample) == {"GPU-0": 2 * GIB}


def test_a_single_server_serves_its_model_itself(local_server: Any) -> None:
    server = local_server()
    endpoint = local_endpoint(server, "single")
    LoadedModelFactory(endpoint=endpoint, name="tiny")
    sample = sample_of(GpuProcess(server.pid, GIB, "llama-server"))
    assert model_bytes(endpoint, "tiny", sample) == {"GPU-0": GIB}


def test_the_only_runner_of_an_ollama_serves_its_only_model(local_server: Any) -> None:
    server = local_server("--model /nowhere/blob")
    endpoint = local_endpoint(server, "ollama")
    sample = sample_of(server.child("/nowhere/blob"))
    assert model_bytes(endpoint, "llama3.1:8b", sample) == {"GPU-0": GIB}


def test_runners_of_an_ollama_are_known_by_the_size_of_their_file(local_server: Any, tmp_path: Path) -> None:
    large, small = _file(tmp_path / "sha256-large", 900 * MIB), _file(tmp_path / "sha256-small", 100 * MIB)
    server = local_server(f"--model {large}", f"--model {small}")
    endpoint = local_endpoint(server, "ollama")
    for name, size in (("large:latest", 900 * MIB + 2000), ("small:latest", 100 * MIB + 2000)):
        LoadedModelFactory(endpoint=endpoint, name=name)
        InstallationFactory(endpoint=endpoint, name=name, size_bytes=size)
    sample = sample_of(server.child(str(large)), server.child(str(small)))
    found = processes.processes_of(endpoint, ["large:latest", "small:latest"], sample)
    assert found
    assert found.by_model["large:latest"] == {server.child(str(large)).pid}
    assert found.by_model["small:latest"] == {server.child(str(small)).pid}


def test_files_of_one_size_tell_nothing(local_server: Any, tmp_path: Path) -> None:
    first, second = _file(tmp_path / "sha256-1", 100 * MIB), _file(tmp_path / "sha256-2", 101 * MIB)
    server = local_server(f"--model {first}", f"--model {second}")
    endpoint = local_endpoint(server, "ollama")
    for name in ("a:latest", "b:latest"):
        LoadedModelFactory(endpoint=endpoint, name=name)
        InstallationFactory(endpoint=endpoint, name=name, size_bytes=100 * MIB)
    sample = sample_of(server.child(str(first)), server.child(str(second)))
    assert model_bytes(endpoint, "a:latest", sample) is None
    assert endpoint_bytes(endpoint, sample) == {"GPU-0": 2 * GIB}


def test_an_unloaded_model_holds_nothing(local_server: Any) -> None:
    endpoint = local_endpoint(local_server(), "ollama")
    assert model_bytes(endpoint, "llama3.1:8b", sample_of(GpuProcess(1, GIB, "init"))) == {}


@pytest.mark.parametrize("lists_processes", [True, False])
def test_a_driver_that_hides_bytes_tells_nothing(local_server: Any, lists_processes: bool) -> None:
    server = local_server()
    endpoint = local_endpoint(server, "single")
    shown = (GpuProcess(server.pid, None, "llama-server"),) if lists_processes else None
    card = GpuSample("GPU-0", 0, "RTX", total_bytes=24 * GIB, used_bytes=GIB, processes=shown)
    sample = HostSample("boot", 1, datetime(2026, 11, 21, tzinfo=UTC), (card,))
    assert model_bytes(endpoint, "tiny", sample) is None


def test_a_forwarder_to_a_container_is_not_taken_for_the_server(local_server: Any) -> None:
    """Its processes hold nothing, which must not be read as a model that holds nothing."""
    server = local_server(program="docker-proxy")
    endpoint = local_endpoint(server, "router")
    sample = sample_of(GpuProcess(1, GIB, "llama-server"))
    found = processes.processes_of(endpoint, ["tiny"], sample)
    assert found is None or found.server != server.pid


def test_a_remote_endpoint_has_no_processes_here() -> None:
    endpoint = EndpointFactory()
    assert model_bytes(endpoint, "llama3.1:8b", sample_of(GpuProcess(1, GIB, "init"))) is None


@pytest.mark.django_db(transaction=True)
async def test_a_simulated_ollama_is_measured_through_its_registered_processes(
    simulated_host: SimulatedHost, ollama_simulator: Any
) -> None:
    endpoint = await sync_to_async(EndpointFactory)()
    measure = sync_to_async(lambda: model_bytes(endpoint, "llama3.1:8b", simulated_host.sample()))
    sources.register_pids(endpoint.pk, ollama_simulator.server.pids)
    before = await measure()
    await ollama_simulator.server.preload("llama3.1:8b")
    after = await measure()
    sources.unregister_pids(endpoint.pk)
    assert before == {}
    assert after == {simulated_host.gpus[0].uuid: simulated_host.used_bytes(0)}
    assert simulated_host.used_bytes(0) > 4 * GIB


def test_models_that_nothing_tells_apart_are_ranked_by_size(host: Host, simulated_host: SimulatedHost) -> None:
    endpoint = EndpointFactory(host=host)
    large = LoadedModelFactory(endpoint=endpoint, vram_bytes=8 * GIB)
    small = LoadedModelFactory(endpoint=endpoint, vram_bytes=2 * GIB)
    pids = [simulated_host.spawn("llama-server") for _ in range(2)]
    simulated_host.allocate(pids[0], 0, 3 * GIB)
    simulated_host.allocate(pids[1], 0, 9 * GIB)
    sources.register_pids(endpoint.pk, lambda: pids)
    [share] = shares_of(host, simulated_host.sample()).values()
    sources.unregister_pids(endpoint.pk)
    assert {key: (model.bytes, model.by) for key, model in share.models.items()} == {
        large.pk: (9 * GIB, By.PROCESS),
        small.pk: (3 * GIB, By.PROCESS),
    }


def test_registered_model_processes_are_believed(host: Host, simulated_host: SimulatedHost) -> None:
    endpoint = EndpointFactory(host=host)
    pids = [simulated_host.spawn("llama-server") for _ in range(2)]
    for pid in pids:
        simulated_host.allocate(pid, 0, pid * MIB)
    sources.register_pids(endpoint.pk, lambda: pids, lambda: {"a": [pids[1]], "b": [pids[0]]})
    measured = model_bytes(endpoint, "a", simulated_host.sample())
    sources.unregister_pids(endpoint.pk)
    assert measured == {simulated_host.gpus[0].uuid: pids[1] * MIB}


def _file(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path
