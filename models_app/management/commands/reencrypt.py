"""``manage.py reencrypt``: stored keys and secrets, encrypted anew after a change of the panel's secret key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from models_app.runtime.reencrypting import reencrypt


class Command(BaseCommand):
    help = "Encrypt with BERTH_SECRET_KEY what one of BERTH_SECRET_KEY_FALLBACKS had encrypted."

    def handle(self, *args: Any, **options: Any) -> None:
        done = reencrypt()
        self.stdout.write(f"Encrypted anew: {done.written}.")
        for name in done.unreadable:
            self.stdout.write(f"Cannot be read, enter it again: {name}.")
