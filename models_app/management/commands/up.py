"""``manage.py up``: the whole panel in one process, ready for a browser."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from models_app.accounts.first_admin import FirstAdmin, ensure_first_admin
from models_app.inventory.hosts import ensure_local_host
from models_app.runtime import demo, embedded
from models_app.runtime.lock import AlreadyRunning, data_folder_lock


class Command(BaseCommand):
    help = "Migrate, then run the web server, the worker and the reconciler in this one process."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with data_folder_lock(settings.DATA_DIR):
                self._run()
        except AlreadyRunning as error:
            raise CommandError(f"{error} Stop it first, or choose another BERTH_DATA_DIR.") from None

    def _run(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        first = ensure_first_admin()
        if settings.DEMO:
            fleet = demo.start()
        else:
            fleet = None
            ensure_local_host()
        try:
            crashed = asyncio.run(embedded.serve(embedded.server(lambda: self._announce(first))))
        finally:
            if fleet:
                fleet.stop()
        if crashed:
            raise CommandError(f"The panel stopped because a part of it ended: {crashed}")
        self.stdout.write("Stopped.")

    def _announce(self, first: FirstAdmin | None) -> None:
        name = "Berth (simulated fleet)" if settings.DEMO else "Berth"
        self.stdout.write(self.style.SUCCESS(f"\n  {name} is ready at {_address()}"))
        if first and first.password:
            self.stdout.write(f"  Log in as {first.name} with the password {first.password}")
            self.stdout.write("  It is shown this once. Lost it? python manage.py resetadmin")
        self.stdout.write("  Ctrl-C stops it.\n")
        if not _is_loopback(settings.HOST) and not settings.BEHIND_TLS:
            self.stderr.write(
                self.style.WARNING(
                    f"  Warning: {settings.HOST} is reachable from other machines without TLS: passwords and tokens "
                    "travel in the clear. Put a TLS proxy in front and set BERTH_BEHIND_TLS=1."
                )
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
