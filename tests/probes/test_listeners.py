"""Servers that are found on the machine without being told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from models_app.probes.commands import command_line, flag, process_named
from models_app.probes.families import PROC, process_family
from models_app.probes.listeners import find_listeners, listener_process
from models_app.probes.servers import Served, server_processes
from models_app.probes.types import Listener

SERVE = """
import socket, subprocess, sys
address, *child = sys.argv[1:]
listener = socket.create_server((address, 0))
print(listener.getsockname()[1], flush=True)
process = subprocess.Popen([sys.executable, __file__, *child], stdin=subprocess.PIPE) if child else None
sys.stdin.read()
if process:
    process.communicate()
"""

Start = Callable[..., "Server"]


class Server:
    """A process that listens on one port, and a child that listens on another when asked for."""

    def __init__(self, process: subprocess.Popen[str], has_child: bool) -> None:
        assert process.stdout is not None
        self.process = process
        self.port = int(process.stdout.readline())
        self.child_port = int(process.stdout.readline()) if has_child else None

    @property
    def child_pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a script of the given name; it ends when its input is closed."""
    with ExitStack() as stack:

        def run(name: str, address: str = "127.0.0.1", *child: str) -> Server:
            script = tmp_path / name
            script.write_text(SERVE, encoding="utf-8")
            process = subprocess.Popen(
                [sys.executable, script, address, *child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.communicate, timeout=30)
            return Server(process, bool(child))

        yield run


def found(port: int | None) -> list[Listener]:
    return [listener for listener in find_listeners(()) if listener.port == port]


@pytest.mark.parametrize("name", ["ollama", "llama-server", "llama-server.exe"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_server_is_known_by_its_name_on_any_port(start: Start, name: str, address: str) -> None:
    server = start(name, address)
    assert found(server.port) == [Listener(server.port, server.process.pid, name.removesuffix(".exe"))]


def test_a_server_is_known_by_its_own_executable(tmp_path: Path) -> None:
    executable = tmp_path / "ollama"
    executable.symlink_to(Path(sys.executable).resolve())
    command = [executable, "-c", SERVE, "127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        listeners = found(port)
        process.communicate(timeout=30)
    assert listeners == [Listener(port, process.pid, "ollama")]


def test_another_program_is_no_server(start: Start) -> None:
    assert found(start("ollama-notes.py").port) == []


def test_the_runner_that_a_server_starts_for_itself_is_left_out(start: Start) -> None:
    server = start("ollama", "127.0.0.1", "127.0.0.1")
    assert [listener.pid for listener in found(server.port)] == [server.process.pid]
    assert found(server.child_port) == []


def test_the_runner_is_left_out_on_a_well_known_port_too(start: Start) -> None:
    server = start("ollama", "127.0.0.1", "127.0.0.1")
    assert server.child_port is not None
    assert server.child_port not in {listener.port for listener in find_listeners((server.child_port,))}


def test_a_well_known_port_counts_whoever_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert Listener(port, os.getpid(), psutil.Process().name()) in find_listeners((port,))
    assert port not in {listener.port for listener in find_listeners((port,))}


def test_a_well_known_port_counts_when_no_process_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", deny)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        assert find_listeners((port,)) == (Listener(port, None, ""),)
        assert listener_process(port) is None


def test_the_process_behind_a_port_is_found(start: Start) -> None:
    server = start("llama-server")
    assert listener_process(server.port) == server.process.pid


def test_the_family_of_a_server_includes_its_runners(start: Start) -> None:
    server = start("ollama", "127.0.0.1", "127.0.0.1")
    assert len(server.child_pids) == 1
    assert process_family(server.process.pid) == {server.process.pid, *server.child_pids}


@pytest.mark.parametrize("tells_children", [True, False], ids=["by its children", "by all parents"])
def test_a_family_is_the_same_on_kernels_that_list_no_children(start: Start, tmp_path: Path, tells_children: bool) -> None:
    server = start("ollama", "127.0.0.1", "127.0.0.1")
    proc = PROC if tells_children else tmp_path
    assert process_family(server.process.pid, proc) == {server.process.pid, *server.child_pids}


def test_the_processes_of_a_server_are_told_with_the_ram_that_they_hold(start: Start) -> None:
    server = start("ollama", "127.0.0.1", "127.0.0.1")
    found = server_processes(Served("atlas", server.port, "ollama"), ())
    assert found is not None
    assert {worker.pid for worker in found.workers} == {server.process.pid, *server.child_pids}
    assert all(worker.ram_bytes and worker.ram_bytes > 1024**2 for worker in found.workers)


def test_a_process_that_has_gone_has_no_arguments_and_no_flags() -> None:
    assert command_line(4194305, None) == ()
    assert flag((), "--alias") == ""
    assert flag(("--alias", "tiny"), "--alias") == flag(("--alias=tiny",), "-a", "--alias") == "tiny"
    assert flag(("-a",), "-a") == ""


def test_of_several_servers_whose_ports_cannot_be_seen_the_command_line_tells(tmp_path: Path) -> None:
    executable = tmp_path / "only-here"
    executable.symlink_to(Path(sys.executable).resolve())
    with ExitStack() as stack:
        pids = []
        for port in ("7001", "7002"):
            command = [executable, "-c", "print(flush=True); import sys; sys.stdin.read()", "--port", port]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert process.stdout
            process.stdout.readline()
            pids.append(process.pid)
            assert process_named("only-here", 7001) == pids[0], "the only one, and then the one with the port"
        assert process_named("only-here", 7002) == pids[1]
        assert process_named("only-here", 7003) is None


def test_a_process_that_has_gone_has_no_family() -> None:
    assert process_family(4194305) == frozenset()  # above the kernel's greatest pid
