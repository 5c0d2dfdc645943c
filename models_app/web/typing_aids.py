"""What browsers are told of fields that hold names, addresses and expressions."""

from __future__ import annotations

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
"""Nothing is completed, capitalised or underlined while somebody types."""

UNREADABLE = "The stored one cannot be read: the panel has another secret key now. Type it again."
"""Of a key or a secret that another secret key had encrypted."""
