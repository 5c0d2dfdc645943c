"""``manage.py web``: one web process of a panel that is spread over several."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from models_app.runtime import embedded


class Command(BaseCommand):
    help = "Serve pages, REST and websockets; worker and reconciler run in processes of their own."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.REDIS_URL:
            raise CommandError("REDIS_URL is empty: a single process is started by `manage.py up`.")
        try:
            listener = embedded.listen()
        except embedded.CannotListen as error:
            raise CommandError(str(error)) from None
        web = embedded.WebServer(lambda: self.stdout.write(f"Serving on {settings.HOST}:{settings.PORT}"))
        asyncio.run(web.serve([listener]))
