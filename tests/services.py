"""A throw-away PostgreSQL and Redis, for the tests of several processes and for running tests on them.

``python -m tests.services COMMAND …`` starts both, sets ``DATABASE_URL`` and ``REDIS_URL``, and runs the command. Each
worker of pytest-xdist has a Redis of its own (``BERTH_TEST_REDIS_URLS``): what one publishes, another must not hear.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis

from tests.ports import free_port

START_SECONDS = 30.0
STOP_SECONDS = 10.0
MOST_WORKERS = 4
"""Of pytest-xdist that are provided for, or as many as there are processors."""
DEBIAN_FOLDER = Path("/usr/lib/postgresql")
# What may be lost in a crash of the machine is of no interest here.
UNSAFE_BUT_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ServiceMissing(Exception):
    """A server's program is not installed, or does not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Services:
    """The addresses of a running PostgreSQL, its database ``postgres``, and of a running Redis."""

    postgresql: Path
    redis_url: str

    def database_url(self, name: str = "postgres") -> str:
        """The address of a database of this server, over its Unix socket."""
        return f"postgres://berth@{quote(str(self.postgresql), safe='')}/{name}"

    def create_database(self, name: str) -> str:
        """Make an empty database and return its address."""
        with psycopg.connect(_connection(self.postgresql), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.database_url(name)


@contextmanager
def running_services() -> Iterator[Services]:
    """Both servers while the block lasts; what they stored is gone afterwards. Raises ServiceMissing."""
    with _folder() as folder, _postgresql(folder) as sockets, redis_server() as redis_url:
        yield Services(sockets, redis_url)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that belongs to the user who runs PostgreSQL. Its path is short: a socket's is at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="berth-pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            os.chown(name, *_unprivileged())
        yield Path(name)


def _unprivileged() -> tuple[int, int]:
    """PostgreSQL refuses to run as root; Debian's package has made a user for it."""
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise ServiceMissing("PostgreSQL does not run as root, and there is no user postgres.") from None
    return user.pw_uid, user.pw_gid


@contextmanager
def _postgresql(folder: Path) -> Iterator[Path]:
    data, log = folder / "data", folder / "log"
    unprivileged = _as_user()
    initdb = [*unprivileged, _program("initdb"), "--pgdata", data, "--auth", "trust", "--username", "berth", "--no-sync"]
    subprocess.run([*initdb, "--encoding", "UTF8", "--locale", "C.UTF-8"], check=True, capture_output=True, cwd=folder)
    options = [part for option in UNSAFE_BUT_QUICK for part in ("-c", option)]
    sockets = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "max_connections=200"]
    command = [*unprivileged, "setpriv", "--pdeathsig", "INT", _program("postgres"), "-D", data, *sockets, *options]
    with _running(command, log, lambda: _accepts(folder)):
        yield folder


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    uid, gid = _unprivileged()
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]


def _program(name: str) -> str:
    found = sorted(DEBIAN_FOLDER.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4])) or [shutil.which(name)]
    if found[-1] is None:
        raise ServiceMissing(f"There is no {name} on this machine: apt-get install postgresql")
    return str(found[-1])


def _connection(folder: Path) -> str:
    return f"host={folder} user=berth dbname=postgres"


def _accepts(folder: Path) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(_connection(folder)).close()
        return True
    return False


@contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """A Redis that keeps nothing, on the port or a free one, while the block lasts. Raises ServiceMissing."""
    program = shutil.which("redis-server")
    if program is None:
        raise ServiceMissing("There is no redis-server on this machine: apt-get install redis-server")
    port = port or free_port()
    command = ["setpriv", "--pdeathsig", "KILL", program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    url = f"redis://127.0.0.1:{port}/0"
    with (
        tempfile.TemporaryDirectory() as folder,
        _running([*command, "--appendonly", "no"], Path(folder) / "log", lambda: _pongs(url)),
    ):
        yield url


def _pongs(url: str) -> bool:
    with suppress(redis.RedisError), redis.Redis.from_url(url) as client:
        return bool(client.ping())
    return False


@contextmanager
def _running(command: Sequence[str | Path], log: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent)
    try:
        _wait(process, log, is_ready)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: it does not wait for clients
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(process: subprocess.Popen[bytes], log: Path, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServiceMissing(f"{process.args} did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def main(command: list[str]) -> int:
    """Run the command beside both servers and return its exit status."""
    try:
        with running_services() as services, ExitStack() as more:
            redis_urls = [
                services.redis_url,
                *(more.enter_context(redis_server()) for _ in range(1, max(MOST_WORKERS, os.cpu_count() or 1))),
            ]
            environment = {
                "DATABASE_URL": services.database_url(),
                "REDIS_URL": services.redis_url,
                "BERTH_TEST_REDIS_URLS": " ".join(redis_urls),
            }
            return subprocess.run(command, env=os.environ | environment, check=False).returncode
    except ServiceMissing as missing:
        sys.stderr.write(f"{missing}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
