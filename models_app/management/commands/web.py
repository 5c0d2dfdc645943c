"""``manage.py web``: one web process of a panel that is spread over several."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from models_app.accounts.first_admin import ensure_first_admin
from models_app.management.commands.up import exposure_warning, reset_command
from models_app.runtime import embedded
from models_app.runtime.schema import WrongSchema, refuse_other_schema


class Command(BaseCommand):
    help = "Serve pages, REST and websockets; worker and reconciler run in processes of their own."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.REDIS_URL:
            raise CommandError("REDIS_URL is empty: a single process is started by `manage.py up`.")
        try:
            refuse_other_schema()
            self._see_to_an_admin()
            listener = embedded.listen()
        except (WrongSchema, embedded.CannotListen) as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        web = embedded.WebServer(self._announce)
        embedded.run(web.serve([listener]))

    def _see_to_an_admin(self) -> None:
        """A password is made only where a person reads it: what this prints goes to a log."""
        if settings.ADMIN_PASSWORD:
            ensure_first_admin()
        elif not User.objects.exists():
            self.stdout.write(f"Nobody can log in yet. This makes an admin and prints a password: {reset_command()}")

    def _announce(self) -> None:
        self.stdout.write(f"Serving on {settings.HOST}:{settings.PORT}")
        if warning := exposure_warning():
            self.stderr.write(self.style.WARNING(f"Warning: {warning}"))
