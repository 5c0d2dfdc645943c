"""``manage.py agenttoken``: one token for many simulated hosts."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_app.accounts.roles import Actor, Via
from models_app.agent_link.enrolment import make_simulated
from models_app.inventory.errors import InventoryRefused


class Command(BaseCommand):
    help = (
        "Add hosts that are marked as simulated and print one token for `manage.py simulate`, alone, once. It expires in "
        "an hour and enrols each of these hosts once. The token of a real host's agent is made on the Hosts page."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--simulated", type=int, required=True, metavar="HOSTS", help="how many")

    def handle(self, *args: Any, simulated: int, **options: Any) -> None:
        try:
            token = make_simulated(Actor(None, "command line", Via.COMMAND), simulated)
        except InventoryRefused as error:
            raise CommandError(str(error)) from None
        self.stdout.write(str(token))
