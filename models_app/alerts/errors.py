"""Why a change to alerts, rules or receivers is refused."""

from __future__ import annotations


class AlertRefused(Exception):
    """A stable ``code``, a sentence for people, and the name of the field at fault, or an empty one."""

    def __init__(self, code: str, message: str, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.hint = hint
