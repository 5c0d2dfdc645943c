"""Why the inventory refuses a change."""

from __future__ import annotations


class InventoryRefused(ValueError):
    """A host or endpoint cannot be added, changed or removed as asked.

    ``code`` is stable and for machines, ``message`` is a sentence for people, ``hint`` says what to do about it, and
    ``field`` names the input at fault, or is empty.
    """

    def __init__(self, code: str, message: str, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.hint = hint
