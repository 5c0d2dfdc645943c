"""``manage.py resetadmin``: the way back in when an admin's password is lost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_app.accounts.first_admin import reset_admin


class Command(BaseCommand):
    help = "Give an admin a new password and print it, once. A user who does not exist is made."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", default="", help="the admin's name; BERTH_ADMIN_USER when left out")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        if len(name) > 150 or "\x00" in name:
            raise CommandError("A user's name has at most 150 characters.")
        admin = reset_admin(name)
        self.stdout.write(f"Log in as {admin.name} with the password {admin.password}")
        self.stdout.write("It is shown this once; choose your own on the account page.")
