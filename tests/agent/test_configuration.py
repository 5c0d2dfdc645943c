"""The agent's file and its secret: what is wrong with them is said before anything is sent anywhere."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from models_app.agent import config, credentials
from models_app.agent.config import BadConfig, parse
from models_app.agent.credentials import BadSecret, Credentials
from models_app.agent.endpoints import Endpoints, Machine
from models_app.agent.link import LONGEST_PAUSE_SECONDS, Link, words_of
from models_app.agent.proofs import BadToken, Token
from models_app.agent.session import AgentSession, Identity
from models_app.agent.supervision.supervisor import Supervisor
from tests.agent.panel import ManualClock

PANEL = {"panel": "wss://panel.example/agent/"}
OLLAMA = {"kind": "ollama", "url": "http://127.0.0.1:11434"}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("wss://panel.example/agent/", "wss://panel.example/agent/"),
        ("https://panel.example", "wss://panel.example/agent/"),
        ("https://panel.example/berth/", "wss://panel.example/berth/agent/"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/agent/"),
        ("ws://[::1]:8000/agent", "ws://[::1]:8000/agent/"),
        ("ws://localhost:8000", "ws://localhost:8000/agent/"),
    ],
)
def test_the_panels_address_is_completed(text: str, url: str) -> None:
    assert parse({"panel": text}).panel == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "panel",
        "ftp://panel",
        "http://panel.example",
        "ws://10.0.0.7:8000",
        "wss://",
        "wss://me:key@panel/",
        "wss://p/?a",
    ],
)
def test_without_tls_only_loopback_is_trusted(text: str) -> None:
    with pytest.raises(BadConfig, match="panel:"):
        parse({"panel": text})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"panle": "x"}, "no key “panle”"),
        ({"endpoints": []}, "a table"),
        ({"endpoints": {"Ollama Host": OLLAMA}}, "small letters"),
        ({"endpoints": {"ollama": {"url": "x"}}}, "say its kind"),
        ({"secret_file": 7}, "a text in quotes"),
        ({"registries": "ghcr.io"}, "a list of texts"),
        ({"registries": [7]}, "a list of texts"),
        ({"endpoints": {f"e{number}": OLLAMA for number in range(65)}}, "at most 64"),
    ],
)
def test_a_mistake_is_named(content: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        parse(PANEL | content)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "shell"}, "kind is one of"),
        (OLLAMA | {"command": "x"}, "no key “command”"),
        (OLLAMA | {"url": "http://169.254.169.254"}, "metadata"),
        (OLLAMA | {"url": "https://ollama.example.com@evil"}, "no user name"),
        (OLLAMA | {"api_key_file": "/no/such/file"}, "No such file"),
    ],
)
def test_an_endpoint_that_may_not_be_reached_is_refused_at_the_start(entry: dict[str, str], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        Endpoints(Machine(parse(PANEL | {"endpoints": {"ollama": entry}}), Supervisor(Path("/nowhere"), Path("/nowhere"))))


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("panel = ")
    with pytest.raises(BadConfig, match="is no TOML: Invalid value"):
        config.read(file)
    with pytest.raises(BadConfig, match="cannot be read"):
        config.read(tmp_path / "absent.toml")


def test_a_secret_comes_back_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret.json"
    mine = Credentials.from_token(Token("a" * 32, b"k" * 32))
    credentials.save(path, mine)
    assert credentials.load(path) == mine
    assert path.stat().st_mode & 0o777 == 0o600
    credentials.save(path, mine.confirmed())
    assert credentials.load(path).token_key is None
    assert [each.name for each in path.parent.iterdir()] == ["secret.json"]


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    credentials.save(path, Credentials("a", b"s"))
    path.chmod(0o640)
    with pytest.raises(BadSecret, match="chmod 600"):
        credentials.load(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key_id": "a"}', '{"key_id": "a", "secret": "xyz"}'])
def test_a_damaged_secret_says_what_to_do(content: str, tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(BadSecret, match="enrol again"):
        credentials.load(path)
    with pytest.raises(BadSecret, match="enrol first"):
        credentials.load(tmp_path / "absent")


def test_a_token_is_read_as_it_is_shown() -> None:
    token = Token("0123456789abcdef" * 2, bytes(range(32)))
    assert Token.parse(f"  {token}\n") == token
    for wrong in ("", "berth_abc", str(token)[:-1], f"{token}x", str(token).replace("berth-agent", "berth")):
        with pytest.raises(BadToken):
            Token.parse(wrong)


def test_pauses_grow_up_to_a_bound_and_are_spread() -> None:
    session = AgentSession(Credentials("a", b"s"), Identity("boot"), ManualClock())

    def pauses(fraction: float) -> list[float]:
        link = Link("ws://127.0.0.1:1/agent/", session, random_fraction=lambda: fraction)
        return [link._pause_seconds() for _ in range(12)]

    longest, shortest = pauses(1.0), pauses(0.0)
    assert longest == sorted(longest)
    assert (longest[0], longest[-1]) == (0.5, LONGEST_PAUSE_SECONDS)
    assert shortest == [pause / 2 for pause in longest]


def test_a_certificate_that_is_not_trusted_is_told_with_what_helps() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "unable to get local issuer certificate"
    assert "unable to get local issuer certificate" in words_of(error)
    assert words_of(error).endswith("ca_file")
    assert words_of(ConnectionRefusedError("refused")) == "refused"
