"""The demo's fleet answers, and a simulated server runs as a process."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from models_app.simulation.fleet import FleetHost, demo_fleet
from tests.simulation.recordings import connect


async def test_the_fleet_has_models_in_memory_and_answers_everywhere() -> None:
    async with demo_fleet(speed=100).serve() as fleet:
        for host in fleet.hosts:
            assert any(gpu.used_bytes for gpu in host.probe.sample().gpus)
            for endpoint in host.endpoints:
                async with connect(endpoint.url) as client:
                    path = "/api/ps" if endpoint.kind == "ollama" else "/health"
                    assert (await client.get(path)).status_code == 200
                assert all(host.probe.is_alive(pid) for pid in endpoint.pids())


async def test_the_fleet_shows_a_foreign_program_and_a_model_partly_in_ram() -> None:
    async with demo_fleet(speed=100).serve() as fleet:
        hosts = {host.name: host for host in fleet.hosts}
        assert "python3" in foreign_programs(hosts["atlas"])
        ollama = next(endpoint for endpoint in hosts["cirrus"].endpoints if endpoint.kind == "ollama")
        async with connect(ollama.url) as client:
            (listed,) = (await client.get("/api/ps")).json()["models"]
        assert 0 < listed["size_vram"] < listed["size"]


def foreign_programs(host: FleetHost) -> set[str]:
    own = {pid for endpoint in host.endpoints for pid in endpoint.pids()}
    processes = [process for gpu in host.probe.sample().gpus for process in gpu.processes or ()]
    return {process.name for process in processes if process.pid not in own}


@pytest.mark.parametrize(("kind", "path"), [("ollama", "/api/tags"), ("router", "/models"), ("single", "/props")])
async def test_a_server_runs_as_a_process_until_it_is_told_to_stop(kind: str, path: str) -> None:
    command = [sys.executable, "-m", "models_app.simulation", kind, "--speed", "1000"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        async with connect(line.split()[-1]) as client:
            while (answer := await client.get(path)).status_code == 503:
                assert kind == "single"
            assert answer.status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
