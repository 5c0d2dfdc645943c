"""``enrol`` says whether the panel has let the machine in."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async

from models_app.accounts.roles import PANEL
from models_app.agent import command, credentials
from models_app.agent_link.enrolment import make_token
from models_app.agent_link.models import Agent
from tests.factories import HostFactory
from tests.fixtures.agents import PanelSocket
from tests.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)


async def enrol(folder: Path, address: str, token: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """``enrol`` with this token on its standard input; its exit status."""
    file = folder / "agent.toml"
    file.write_text(f'panel = "{address}"\nsecret_file = "{folder}/secret.json"\n')
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    return await asyncio.to_thread(command.main, ["enrol", "--config", str(file)])


async def test_a_token_that_counts_makes_the_machine_known(
    panel_socket: PanelSocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = await sync_to_async(HostFactory)(name="gpu-1")
    _, token = await sync_to_async(make_token)(PANEL, host)
    assert await enrol(tmp_path, panel_socket.url, str(token), monkeypatch) == 0
    assert "knows this machine as gpu-1" in capsys.readouterr().out
    assert credentials.load(tmp_path / "secret.json").token_key is None
    assert await Agent.objects.filter(host=host, revoked_at=None).aexists()


async def test_a_token_that_was_used_is_refused_and_takes_nothing(
    panel_socket: PanelSocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, token = await sync_to_async(make_token)(PANEL, await sync_to_async(HostFactory)(name="gpu-1"))
    assert await enrol(tmp_path, panel_socket.url, str(token), monkeypatch) == 0
    before = credentials.load(tmp_path / "secret.json")
    assert await enrol(tmp_path, panel_socket.url, str(token), monkeypatch) == 1
    assert "the token was used already" in capsys.readouterr().err
    assert credentials.load(tmp_path / "secret.json") == before


async def test_a_panel_that_is_away_leaves_the_rest_to_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, token = await sync_to_async(make_token)(PANEL, await sync_to_async(HostFactory)(name="gpu-1"))
    assert await enrol(tmp_path, f"ws://127.0.0.1:{free_port()}/agent/", str(token), monkeypatch) == 1
    assert "first run enrols it" in capsys.readouterr().err
    assert credentials.load(tmp_path / "secret.json").token_key == token.key
