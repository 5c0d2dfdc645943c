"""What browsers are told of fields that hold names, addresses and expressions."""

from __future__ import annotations

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
"""Nothing is completed, capitalised or underlined while somebody types."""
