"""How requests name a row."""

from __future__ import annotations

MOST_ID = 2**63 - 1
_MOST_DIGITS = len(str(MOST_ID))


def row_id(text: str) -> int:
    """The id that a text spells; 0, which no row has, where it spells none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number and 0 < int(text) <= MOST_ID else 0
