"""How requests name a row."""

from __future__ import annotations

MOST_ID = 2**63 - 1
_MOST_DIGITS = len(str(MOST_ID))


def row_id(text: str) -> int | None:
    """The id that a text spells; ``None`` where it spells none that a row could have."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number and 0 < int(text) <= MOST_ID else None
