"""Server processes on this machine that may be an Ollama or a llama-server, and the processes that belong to one."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import PurePath

import psutil

from models_app.probes.types import Listener

SERVER_NAMES = frozenset({"ollama", "llama-server"})
WELL_KNOWN_PORTS = (11434, 8080, 9931)
_CONNECT_TIMEOUT_SECONDS = 0.2


def find_listeners(well_known_ports: tuple[int, ...] = WELL_KNOWN_PORTS) -> tuple[Listener, ...]:
    """Candidates that answer on loopback, by port: whether each is what its name says is for its HTTP API to tell.

    A server is known by its process's name or an argument of that file name. The runners that an Ollama or a router
    starts for itself are left out. Well-known ports count when they accept a connection, whoever listens there.
    """
    pids = _listening_ports()
    servers = {pid: name for pid in pids.values() if pid and pid != os.getpid() and (name := server_name(pid))}
    workers = {pid for pid in servers if not servers.keys().isdisjoint(_ancestors(pid))}
    found = {port: Listener(port, pid, servers[pid]) for port, pid in pids.items() if pid in servers and pid not in workers}
    for port in well_known_ports:
        if port not in found and pids.get(port) not in workers and _accepts(port):
            found[port] = Listener(port, pids.get(port), _process_name(pids.get(port)))
    return tuple(found[port] for port in sorted(found))


def listener_process(port: int) -> int | None:
    """The process that listens on this TCP port of loopback or of every address; ``None`` where it cannot be seen."""
    return _listening_ports().get(port)


def _listening_ports() -> dict[int, int | None]:
    """Ports that loopback reaches, each with its listening process where this user may see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return {}
    pids: dict[int, int | None] = {}
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and _is_reachable_on_loopback(address.ip):
            pids[address.port] = connection.pid or pids.get(address.port)
    return pids


def _is_reachable_on_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_loopback or ip.is_unspecified


def server_name(pid: int) -> str:
    """Which of ``SERVER_NAMES`` this process is, or an empty string for another program and for one that has gone."""
    try:
        process = psutil.Process(pid)
        names = [process.name(), *process.cmdline()]
    except psutil.Error:
        return ""
    return next((stem for name in names if (stem := PurePath(name).name.removesuffix(".exe")) in SERVER_NAMES), "")


def _process_name(pid: int | None) -> str:
    try:
        return psutil.Process(pid).name() if pid else ""
    except psutil.Error:
        return ""


def _ancestors(pid: int) -> set[int]:
    try:
        return {parent.pid for parent in psutil.Process(pid).parents()}
    except psutil.Error:
        return set()


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
