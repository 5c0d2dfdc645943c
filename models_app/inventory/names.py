"""The names that people give to hosts and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction
from django.db.models import Model

from models_app.inventory.errors import InventoryRefused

MAX_NAME_LENGTH = 80


def checked_name(name: str, kind: type[Model], subject: Model | None = None) -> str:
    """The name without spaces around it. Raises ``InventoryRefused`` for a bad one and for that of another row.

    Names that differ only in case count as the same.
    """
    name = name.strip()
    if not name:
        raise InventoryRefused("name_missing", "A name is needed.", "name")
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InventoryRefused("name_invalid", f"A name is printable text of at most {MAX_NAME_LENGTH} characters.", "name")
    others = kind._default_manager.filter(name__iexact=name).exclude(pk=subject.pk if subject else None)
    if others.exists():
        raise InventoryRefused("name_taken", f"Another {kind._meta.verbose_name} is called “{name}” already.", "name")
    return name


@contextmanager
def unless_taken(kind: type[Model], what: str = "name", *, code: str = "name_taken", field: str = "name") -> Iterator[None]:
    """Write in here what was checked to be free a moment ago. Raises ``InventoryRefused`` where another was faster."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise InventoryRefused(code, f"Another {kind._meta.verbose_name} has just got this {what}.", field) from error


def free_name(name: str, kind: type[Model]) -> str:
    """The name, or the name with the first free number behind it."""
    taken = {taken.lower() for taken in kind._default_manager.values_list("name", flat=True)}
    candidate, number = name, 2
    while candidate.lower() in taken:
        candidate, number = f"{name} {number}", number + 1
    return candidate
