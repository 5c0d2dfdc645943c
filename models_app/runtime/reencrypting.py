"""After a new secret key: what an earlier one had encrypted is encrypted with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models.functions import Cast

from controlpanel.encrypted import EncryptedField, Unreadable, decrypted, is_current


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """How many texts were written anew, and whose could not be read."""

    written: int
    unreadable: tuple[str, ...]


def reencrypt() -> Reencrypted:
    """Encrypt anew whatever only an earlier key reads."""
    written, unreadable = 0, []
    for model, field in _encrypted_fields():
        manager = model._default_manager
        stored = manager.exclude(**{field: ""}).annotate(stored=Cast(field, models.TextField()))
        for row in stored:
            if is_current(row.stored):
                continue
            text = decrypted(row.stored)
            if isinstance(text, Unreadable):
                unreadable.append(f"{model._meta.verbose_name} {row}")
                continue
            written += manager.filter(pk=row.pk).update(**{field: text})
    return Reencrypted(written, tuple(unreadable))


def _encrypted_fields() -> Iterator[tuple[Any, str]]:
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, EncryptedField):
                yield model, field.name
