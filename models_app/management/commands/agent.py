"""``manage.py agent``: the agent, on a machine that has the whole panel installed."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from models_app.agent.command import main


class Command(BaseCommand):
    help = "Run this machine's agent: the same as `python -m models_app.agent`."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=("enrol", "run"))
        parser.add_argument("--config", default="", metavar="FILE")

    def handle(self, *args: Any, verb: str, config: str, **options: Any) -> None:
        sys.exit(main([verb, *(["--config", config] if config else [])]))
