"""Who does what the panel asks, as a session sees it."""

from __future__ import annotations

from typing import Protocol

from models_app.agent.messages import Ask, Message


class Asked(Protocol):
    """Whoever does what the panel asks."""

    def ask(self, ask: Ask) -> None:
        """Begin it, unless it has been begun."""

    def cancel(self, ask_id: int) -> None:
        """Stop it, if it still runs."""

    def settle(self, ask_id: int) -> None:
        """Forget its end."""

    def running(self) -> tuple[int, ...]:
        """The ids of what has not been settled."""

    def unsettled(self) -> list[Message]:
        """The ends that the panel may not have heard of."""


class NothingAsked:
    """An agent that only reports."""

    def ask(self, ask: Ask) -> None: ...

    def cancel(self, ask_id: int) -> None: ...

    def settle(self, ask_id: int) -> None: ...

    def running(self) -> tuple[int, ...]:
        return ()

    def unsettled(self) -> list[Message]:
        return []
