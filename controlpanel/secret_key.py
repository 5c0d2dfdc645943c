"""The panel's secret key, which signs sessions and from which the key of the database's encrypted texts is made."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

LEAST_CHARACTERS = 32
"""128 bits even where they are hexadecimal digits."""


def secret_key(given: str, folder: Path) -> str:
    """The key that was given, else the one in the data folder (mode 600), made once. Raises ImproperlyConfigured."""
    if given:
        advice = "Use a longer one: python3 -c 'import secrets; print(secrets.token_urlsafe(64))'"
        return _checked(given, "BERTH_SECRET_KEY", advice)
    path = folder / "secret-key"
    try:
        if not path.exists():
            _write(path)
        return _checked(path.read_text(), str(path), "Restore it from a copy, or remove it for a new one.")
    except OSError as error:
        raise ImproperlyConfigured(f"BERTH_DATA_DIR is {folder}, which cannot be used: {error.strerror}.") from None


def _checked(key: str, where: str, advice: str) -> str:
    """A short key can be guessed, and one that was cut off by a full disk decrypts nothing."""
    if len(key) < LEAST_CHARACTERS:
        raise ImproperlyConfigured(f"{where} has {len(key)} characters; a key has {LEAST_CHARACTERS} or more. {advice}")
    return key


def _write(path: Path) -> None:
    """Whoever is first writes it, whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(secrets.token_urlsafe(64))
    with suppress(FileExistsError):
        os.link(file.name, path)
    Path(file.name).unlink()
