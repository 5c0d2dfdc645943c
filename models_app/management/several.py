"""What the processes of a panel that is spread over several have in common."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from models_app.runtime.embedded import CannotListen
from models_app.runtime.schema import WrongSchema, refuse_other_schema


class OneOfSeveral(BaseCommand):
    """One process of several. What it cannot do without is told in a sentence, before its work begins."""

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.REDIS_URL:
            raise CommandError("REDIS_URL is empty: a single process is started by `manage.py up`.")
        try:
            refuse_other_schema()
            self.prepare()
        except (WrongSchema, CannotListen) as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        self.work()

    def prepare(self) -> None:
        """What has to be there first. Raises CannotListen."""

    def work(self) -> None:
        """Until a signal."""
        raise NotImplementedError
