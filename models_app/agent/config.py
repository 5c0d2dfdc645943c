"""The agent's configuration file: which panel, which secret, and what the panel may reach here.

panel = "wss://panel.example/agent/"
secret_file = "/var/lib/berth-agent/secret.json"

[endpoints.ollama]
kind = "ollama"                      # or "llama_server"
url = "http://127.0.0.1:11434"
# api_key_file = "/etc/berth/ollama.key"

[supervision]                        # see docs/managed.md
# allow_file = "/etc/berth/managed.toml"
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models_app.agent.messages import MOST_ENDPOINTS

KEYS = frozenset({"panel", "secret_file", "ca_file", "registries", "endpoints", "supervision"})
MANAGED = "managed."
"""How the names of the endpoints begin whose servers the panel has put here."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
DEFAULT_SECRET_FILE = "/var/lib/berth-agent/secret.json"  # noqa: S105 - where it is, not what it is


class BadConfig(Exception):
    """The file cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """One ``[endpoints.NAME]``; ``settings`` are its keys other than ``kind``, judged by the kind."""

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file. ``registries`` are those from which models may be pulled, beside Ollama's own."""

    panel: str
    secret_file: Path
    ca_file: Path | None = None
    registries: frozenset[str] = frozenset()
    endpoints: tuple[EndpointConfig, ...] = ()
    supervision: Mapping[str, Any] = field(default_factory=dict)

    def tls(self) -> ssl.SSLContext | None:
        """How the panel's certificate is checked; ``None`` for a panel on loopback without TLS. Raises ``BadConfig``."""
        if self.panel.startswith("ws://"):
            return None
        try:
            return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except OSError as error:
            raise BadConfig(f"ca_file: {self.ca_file} cannot be used: {error}") from None


def read(path: Path) -> Config:
    """The configuration in a file. Raises ``BadConfig``."""
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(f"{path} is no TOML: {error}") from None
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from None


def parse(content: Mapping[str, Any]) -> Config:
    """The configuration that the keys describe. A key that is not known is an error. Raises ``BadConfig``."""
    if unknown := sorted(set(content) - KEYS):
        raise BadConfig(f"there is no key “{unknown[0]}”; there are: {', '.join(sorted(KEYS))}")
    tables = _table(content, "endpoints")
    if len(tables) > MOST_ENDPOINTS:
        raise BadConfig(f"at most {MOST_ENDPOINTS} endpoints")
    ca_file = _text(content, "ca_file", "")
    return Config(
        panel=panel_url(_text(content, "panel", "")),
        secret_file=Path(_text(content, "secret_file", DEFAULT_SECRET_FILE)),
        ca_file=Path(ca_file) if ca_file else None,
        registries=_names(content, "registries"),
        endpoints=tuple(_endpoint(name, table) for name, table in tables.items()),
        supervision=_table(content, "supervision"),
    )


def panel_url(text: str) -> str:
    """The address of the panel's socket for agents; ``https://panel`` is completed.

    Raises ``BadConfig`` for one without TLS, unless it is on loopback.
    """
    parts = urlsplit(text.strip())
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    if scheme not in {"wss", "ws"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise BadConfig("panel: write the panel's address, as in wss://panel.example/agent/")
    if scheme == "ws" and not _is_loopback(parts.hostname):
        raise BadConfig("panel: without TLS (ws://) only a panel on loopback is trusted; write wss://…")
    path = parts.path if parts.path.rstrip("/").endswith("/agent") else f"{parts.path.rstrip('/')}/agent"
    return f"{scheme}://{parts.netloc}{path.rstrip('/')}/"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _endpoint(name: str, table: Any) -> EndpointConfig:
    if not _NAME.fullmatch(name):
        raise BadConfig(f"endpoints.{name}: a name is 1 to 40 small letters, digits, dots, dashes and underscores")
    if name.startswith(MANAGED):
        raise BadConfig(f"endpoints.{name}: names that begin with {MANAGED} are those of servers which the panel adds")
    if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
        raise BadConfig(f'endpoints.{name}: say its kind, as in kind = "ollama"')
    return EndpointConfig(name, table["kind"], {key: value for key, value in table.items() if key != "kind"})


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict):
        raise BadConfig(f"{key}: this is a table, as in [{key}]")
    return table


def _names(content: Mapping[str, Any], key: str) -> frozenset[str]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadConfig(f"{key}: this is a list of texts in quotes")
    return frozenset(name.lower() for name in value)


def _text(content: Mapping[str, Any], key: str, default: str) -> str:
    value = content.get(key, default)
    if not isinstance(value, str):
        raise BadConfig(f"{key}: this is a text in quotes")
    return value
