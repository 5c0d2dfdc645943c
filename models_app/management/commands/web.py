"""``manage.py web``: one web process of a panel that is spread over several."""

from __future__ import annotations

from socket import socket

from django.conf import settings
from django.contrib.auth.models import User

from models_app.accounts.first_admin import ensure_first_admin
from models_app.management.commands.up import exposure_warning, reset_command
from models_app.management.several import OneOfSeveral
from models_app.runtime import embedded


class Command(OneOfSeveral):
    help = "Serve pages, REST and websockets; worker and reconciler run in processes of their own."
    listener: socket

    def prepare(self) -> None:
        """A password is made only where a person reads it: what this prints goes to a log."""
        if settings.ADMIN_PASSWORD:
            ensure_first_admin()
        elif not User.objects.exists():
            self.stdout.write(f"Nobody can log in yet. This makes an admin and prints a password: {reset_command()}")
        self.listener = embedded.listen()

    def work(self) -> None:
        """Serve."""
        embedded.run(embedded.WebServer(self._announce).serve([self.listener]))

    def _announce(self) -> None:
        self.stdout.write(f"Serving on {settings.HOST}:{settings.PORT}")
        if warning := exposure_warning():
            self.stderr.write(self.style.WARNING(f"Warning: {warning}"))
