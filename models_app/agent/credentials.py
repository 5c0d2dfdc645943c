"""The agent's secret and where it is kept: a file that only its owner may read."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from models_app.agent import proofs
from models_app.agent.proofs import Token


class BadSecret(Exception):
    """The secret file cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the agent is. ``token_key`` is there until the panel has confirmed the enrolment."""

    key_id: str
    secret: bytes
    salt: str = ""
    token_key: bytes | None = None

    @classmethod
    def from_token(cls, token: Token) -> Credentials:
        """A new secret by a one-time token."""
        salt = proofs.nonce()
        return cls(token.key_id, proofs.agent_secret(token.key, salt), salt, token.key)

    def confirmed(self) -> Credentials:
        """The same without the token, which has done its work."""
        return replace(self, token_key=None)


def save(path: Path, credentials: Credentials) -> None:
    """Write the file whole or not at all, readable by its owner alone. Raises OSError."""
    content = {"key_id": credentials.key_id, "secret": credentials.secret.hex(), "salt": credentials.salt}
    if credentials.token_key is not None:
        content["token_key"] = credentials.token_key.hex()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    try:
        with os.fdopen(handle, "w") as file:  # mkstemp makes it 0600
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def load(path: Path) -> Credentials:
    """The credentials in the file. Raises ``BadSecret``."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadSecret(f"{path} can be read by others: chmod 600 {path}")
        content = json.loads(path.read_text(encoding="utf-8"))
        token_key = content.get("token_key")
        return Credentials(
            str(content["key_id"]),
            bytes.fromhex(content["secret"]),
            str(content.get("salt", "")),
            bytes.fromhex(token_key) if token_key else None,
        )
    except FileNotFoundError:
        raise BadSecret(f"There is no {path} yet: enrol first, with a token from the Hosts page.") from None
    except OSError as error:
        raise BadSecret(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadSecret(f"{path} is damaged: enrol again, with a new token from the Hosts page.") from None
