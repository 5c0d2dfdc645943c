"""Text that is encrypted in the database: with a key made from the panel's secret key, which is not stored there.

Fernet: AES-128 in CBC mode with an HMAC-SHA256. What was encrypted with one of ``SECRET_KEY_FALLBACKS`` is read as well.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

REMEMBERED = 4096
"""Texts that were read lately: watching a thousand endpoints reads all of their keys every other second."""
_PURPOSE = b"berth: texts that are encrypted in the database"


class Unreadable(str):
    """What was encrypted with a secret key that is not known any more, as it is stored: writing it changes nothing."""

    __slots__ = ()


class EncryptedField(models.TextField):  # type: ignore[type-arg]  # generic for mypy only
    """A text that is encrypted as it is stored. The empty text is stored as it is, so that a query can ask for it.

    Reads as ``Unreadable`` what cannot be decrypted.
    """

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        """The text as it was written."""
        return decrypted(value) if value else value

    def get_prep_value(self, value: Any) -> Any:
        """The text as it is stored."""
        prepared = super().get_prep_value(value)
        return encrypted(prepared) if prepared else prepared


def encrypted(text: str) -> str:
    """The text, encrypted with the secret key of now."""
    return str(text) if isinstance(text, Unreadable) else _cipher(*_keys()).encrypt(text.encode()).decode()


def decrypted(stored: str) -> str:
    """The text that was encrypted, or ``Unreadable``."""
    return _decrypted(stored, _keys())


def is_current(stored: str) -> bool:
    """Whether the secret key of now reads it."""
    return not isinstance(_decrypted(stored, (settings.SECRET_KEY,)), Unreadable)


@lru_cache(REMEMBERED)
def _decrypted(stored: str, keys: tuple[str, ...]) -> str:
    try:
        return _cipher(*keys).decrypt(stored.encode()).decode()
    except InvalidToken:
        return Unreadable(stored)


def _keys() -> tuple[str, ...]:
    return settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS


@lru_cache(8)
def _cipher(*secret_keys: str) -> MultiFernet:
    """Encrypts with the first of them."""
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key))) for key in secret_keys])


def _derived(secret_key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret_key.encode())
