"""A program and a database that do not belong together are told at the start, before anything is written."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.migrations.recorder import MigrationRecorder

from models_app.management.commands import up
from models_app.runtime.embedded import CannotListen
from models_app.runtime.schema import WrongSchema, refuse_newer_schema, refuse_other_schema

pytestmark = pytest.mark.django_db
Applied = MigrationRecorder.Migration


def test_the_database_of_this_version_is_taken() -> None:
    refuse_other_schema()


def test_a_newer_database_is_refused_with_what_to_do() -> None:
    Applied.objects.create(app="models_app", name="9999_from_the_future")
    for refuse in (refuse_newer_schema, refuse_other_schema):
        with pytest.raises(WrongSchema, match=r"9999_from_the_future.*restore the copy"):
            refuse()


def test_a_panel_in_one_process_does_not_start_on_a_newer_database() -> None:
    Applied.objects.create(app="models_app", name="9999_from_the_future")
    with socket.socket() as listener, pytest.raises(WrongSchema):
        up.Command()._run(listener)


@pytest.mark.parametrize("command", ["web", "worker", "reconciler"])
def test_a_database_that_is_not_migrated_is_refused_by_each_of_several_processes(command: str, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    Applied.objects.filter(app="models_app").order_by("-name").first().delete()
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        call_command(command)


def test_a_web_process_says_how_to_make_the_first_admin(settings: Any, capsys: Any, monkeypatch: Any) -> None:
    _serve_nothing(settings, monkeypatch)
    settings.ADMIN_PASSWORD = ""
    with pytest.raises(CommandError, match="no port"):
        call_command("web")
    assert "manage.py resetadmin" in capsys.readouterr().out
    assert not User.objects.exists()


def test_a_web_process_makes_the_admin_whose_password_is_given(settings: Any, capsys: Any, monkeypatch: Any) -> None:
    _serve_nothing(settings, monkeypatch)
    settings.ADMIN_PASSWORD = "a long pass phrase"
    with pytest.raises(CommandError, match="no port"):
        call_command("web")
    assert User.objects.get().check_password("a long pass phrase")
    assert "a long pass phrase" not in capsys.readouterr().out


def _serve_nothing(settings: Any, monkeypatch: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    def listen() -> None:
        raise CannotListen("no port")

    monkeypatch.setattr("models_app.runtime.embedded.listen", listen)
