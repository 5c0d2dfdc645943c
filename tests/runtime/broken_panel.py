"""``python -m tests.runtime.broken_panel``: a panel whose background part breaks down once the panel serves."""

from __future__ import annotations

import os
import time

import django
import httpx

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import execute_from_command_line  # noqa: E402

from models_app.runtime.background import Background  # noqa: E402


def break_down(self: Background) -> None:
    """Raise once the web server answers."""
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{settings.PORT}/healthz", timeout=5).raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(0.05)
    raise RuntimeError("out of order")


if __name__ == "__main__":
    Background.work = break_down  # type: ignore[method-assign]
    execute_from_command_line(["manage.py", "up"])
