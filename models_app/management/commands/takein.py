"""``manage.py takein``: started by a panel with many hosts, for itself."""

from __future__ import annotations

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from models_app.runtime.embedded import run
from models_app.runtime.taking_in import take_in


class Command(BaseCommand):
    help = "Take in what agents report, for the panel at the other end of an open socket. Panels start this themselves."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("socket", type=int, help="the number of the open file")

    def handle(self, *args: Any, **options: Any) -> None:
        run(take_in(socket.socket(fileno=options["socket"])))
