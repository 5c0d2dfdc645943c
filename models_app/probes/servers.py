"""Which processes belong to a server on this machine, and what each was started for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from models_app.probes.commands import command_line, file_size, flag, process_named, start_time
from models_app.probes.families import process_family
from models_app.probes.listeners import listener_process, server_name
from models_app.probes.memory import resident_bytes
from models_app.probes.types import GpuProcess, GpuSample, ServerProcesses, Worker

FORGET_AFTER_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 3.0
"""For a server that was not found. A look at every process's sockets takes some 15 ms."""

_lock = threading.Lock()
_servers: dict[tuple[int, str], tuple[float, int | None]] = {}


@dataclass(frozen=True, slots=True)
class Served:
    """A server: the name by which its processes are reported, its port, and its program (``ollama``, ``llama_server``)."""

    name: str
    port: int
    program: str


def server_processes(served: Served, gpus: Iterable[GpuSample]) -> ServerProcesses | None:
    """The server's processes, in the order of their pids; ``None`` where the server cannot be found."""
    server = server_process(served.port, served.program)
    if server is None:
        return None
    shown = {process.pid: process for gpu in gpus for process in gpu.processes or ()}
    on_gpus = {process.pid for process in shown.values() if server in (process.pid, process.parent_pid)}
    family = sorted(process_family(server) | on_gpus)
    return ServerProcesses(served.name, server, tuple(_worker(pid, shown.get(pid)) for pid in family))


def _worker(pid: int, shown: GpuProcess | None) -> Worker:
    command = command_line(pid, shown.started_at if shown else start_time(pid))
    alias, path = flag(command, "--alias", "-a"), flag(command, "--model", "-m")
    return Worker(pid, alias, file_size(path), resident_bytes([pid]))


def server_process(port: int, program: str) -> int | None:
    """The server that listens on the port, remembered for a while.

    Where the port's owner cannot be seen or only forwards to a container, it is the process of its program
    that was started with this port, else the only one, if any.
    """
    key = (port, program)
    with _lock:
        known_until, pid = _servers.get(key, (0.0, None))
    if time.monotonic() >= known_until or (pid is not None and not server_name(pid)):
        listener = listener_process(port)
        pid = listener if listener and server_name(listener) else process_named(program.replace("_", "-"), port)
        with _lock:
            _servers[key] = (time.monotonic() + (FORGET_AFTER_SECONDS if pid else LOOK_AGAIN_SECONDS), pid)
    return pid
