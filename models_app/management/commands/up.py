"""``manage.py up``: the whole panel in one process, ready for a browser."""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, OperationalError, connection

from models_app.accounts.first_admin import FirstAdmin, ensure_first_admin
from models_app.inventory.hosts import ensure_local_host
from models_app.operations.states import expire_leases
from models_app.runtime import embedded
from models_app.runtime.background import Background
from models_app.runtime.demo import DemoFleet
from models_app.runtime.lock import AlreadyRunning, data_folder_lock
from models_app.runtime.part import Part
from models_app.runtime.schema import WrongSchema, refuse_newer_schema
from models_app.runtime.worker import EmbeddedWorker

LEAVE_SECONDS = 3.0
DAMAGED = ("file is not a database", "database disk image is malformed")
"""SQLite's words."""


class Command(BaseCommand):
    help = "Migrate, then run the web server, the worker and the reconciler in this one process."

    def handle(self, *args: Any, **options: Any) -> None:
        status = 1
        try:
            self._hold_and_run()
            status = 0
        except KeyboardInterrupt:
            status = 0
        finally:
            embedded.leave_within(LEAVE_SECONDS, status)
        self.stdout.write("Stopped.")

    def _hold_and_run(self) -> None:
        try:
            with data_folder_lock(settings.DATA_DIR), closing(embedded.listen()) as listener:
                self._run(listener)
        except AlreadyRunning as error:
            raise CommandError(f"{error} Stop it first, or choose another BERTH_DATA_DIR.") from None
        except (embedded.CannotListen, WrongSchema) as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        except DatabaseError as error:
            if str(error) not in DAMAGED:
                raise
            file = connection.settings_dict["NAME"]
            raise CommandError(
                f"{file} is damaged, or no database: restore a copy, or move it away for a new one."
            ) from None

    def _run(self, listener: socket.socket) -> None:
        refuse_newer_schema()
        call_command("migrate", verbosity=0, interactive=False)
        if connection.vendor == "sqlite":
            expire_leases()  # the lock on the data folder says that whoever held them is gone
        self._welcome(ensure_first_admin())
        parts: list[Part] = [DemoFleet()] if settings.DEMO else []
        if not settings.DEMO:
            ensure_local_host()
        web = embedded.WebServer(self._announce)
        crashed = embedded.run(embedded.serve(web, listener, [*parts, EmbeddedWorker(), Background()]))
        if crashed:
            raise CommandError(f"The panel stopped because a part of it ended: {crashed}")

    def _welcome(self, first: FirstAdmin | None) -> None:
        """Said before anything else can fail, for the password is shown this once."""
        if first and first.password:
            self.stdout.write(f"\n  Log in as {first.name} with the password {first.password}")
            self.stdout.write(f"  It is shown this once. Lost it? {reset_command()}")
            self.stdout.flush()

    def _announce(self) -> None:
        name = "Berth (simulated fleet)" if settings.DEMO else "Berth"
        self.stdout.write(self.style.SUCCESS(f"\n  {name} is ready at {_address()}"))
        self.stdout.write("  Ctrl-C stops it.\n")
        if warning := exposure_warning():
            self.stderr.write(self.style.WARNING(f"  Warning: {warning}"))
        self.stdout.flush()


def reset_command() -> str:
    """What makes a new password, as one may paste it where the panel was started."""
    is_usual = Path("data").absolute() == settings.DATA_DIR
    folder = "" if is_usual else f"BERTH_DATA_DIR={shlex.quote(str(settings.DATA_DIR))} "
    python = sys.executable if Path.cwd() not in Path(sys.executable).parents else os.path.relpath(sys.executable)
    return f"{folder}{shlex.quote(python)} manage.py resetadmin"


def exposure_warning() -> str:
    """What is wrong with listening on ``settings.HOST``; empty where nothing is."""
    if _is_loopback(settings.HOST) or settings.BEHIND_TLS:
        return ""
    return (
        f"{settings.HOST} is reachable from other machines without TLS: passwords and tokens travel in the clear. "
        "Put a TLS proxy in front and set BERTH_BEHIND_TLS=1."
    )


def _address() -> str:
    host = f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST
    return f"http://{host}:{settings.PORT}/"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
