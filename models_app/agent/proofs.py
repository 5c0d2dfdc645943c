"""How both ends show that they know a secret without saying it: HMAC-SHA256 over what both have just made up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

NONCE_BYTES = 32
MEMBER_DIGITS = 8
"""Of a token's id: which host of a batch it is for, in hexadecimal; zeros for a token by itself and that of the batch."""
TOKEN = re.compile(r"berth-agent-(?P<key_id>[0-9a-f]{32})-(?P<key>[A-Za-z0-9_-]{43})")
_NONCE = re.compile(r"[0-9a-f]{64}")


class BadToken(ValueError):
    """The text is no enrolment token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A one-time token: the id of an enrolment, and the key that proves it."""

    key_id: str
    key: bytes

    def __str__(self) -> str:
        return f"berth-agent-{self.key_id}-{base64.urlsafe_b64encode(self.key).decode().rstrip('=')}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """The token in a text. Raises ``BadToken``."""
        match = TOKEN.fullmatch(text.strip())
        if match is None:
            raise BadToken("This is no enrolment token: it looks like berth-agent-…-…, as the Hosts page shows it.")
        return cls(match["key_id"], base64.urlsafe_b64decode(match["key"] + "="))

    def member(self, number: int) -> Token:
        """The token of one host of the batch that this one is for, counted from 1."""
        tail = f"{number:0{MEMBER_DIGITS}x}"
        return Token(self.key_id[:-MEMBER_DIGITS] + tail, member_key(self.key, tail))


def nonce() -> str:
    """A number that nobody has used before."""
    return secrets.token_hex(NONCE_BYTES)


def is_nonce(text: str) -> bool:
    """Whether this is what ``nonce`` makes."""
    return _NONCE.fullmatch(text) is not None


def agent_secret(token_key: bytes, salt: str) -> bytes:
    """The secret that an enrolment agrees on: made at both ends, sent by none."""
    return _mac(token_key, "berth agent secret", salt)


def member_key(key: bytes, tail: str) -> bytes:
    """The key of one token of a batch, by the end of its id. It tells neither the batch's nor another's."""
    return _mac(key, "berth agent batch", tail)


def proof(secret: bytes, purpose: str, *parts: str) -> str:
    """Shows the knowledge of ``secret`` for one purpose and these values, among them the other end's nonce."""
    return _mac(secret, purpose, *parts).hex()


def is_proof(claimed: str, secret: bytes, purpose: str, *parts: str) -> bool:
    """Whether ``claimed`` is that proof; takes as long whatever is wrong with it."""
    return hmac.compare_digest(claimed.encode(), proof(secret, purpose, *parts).encode())


def _mac(key: bytes, *parts: str) -> bytes:
    """Each part with its length before it, so that no two lists of parts are the same bytes."""
    body = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(key, body, hashlib.sha256).digest()
