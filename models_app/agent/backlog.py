"""Samples that the panel has not stored yet: numbered, bounded, and the same each time they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice

from models_app.agent import codec
from models_app.probes.types import HostSample

MOST_SAMPLES = 1200
"""Twenty minutes of seconds."""
MOST_CHARACTERS = 48 * 1024**2

TimeOf = Callable[[float], datetime]
Write = Callable[[str, int, datetime], str]
"""The text of a sample with its boot id, its sequence, and its time by the panel's clock."""


@dataclass(slots=True)
class _Entry:
    """A sample, and once its time by the panel's clock is fixed, its text in its place."""

    sequence: int
    monotonic: float
    write: Write | None
    text: str = ""


class Backlog:
    """The samples of one process. Beyond its bounds the oldest are lost, and counted."""

    def __init__(self, boot_id: str, most_samples: int = MOST_SAMPLES) -> None:
        self.boot_id = boot_id
        self.lost = 0
        self._most_samples = most_samples
        self._entries: deque[_Entry] = deque()
        self._characters = 0
        self._next = 1

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sample: HostSample, monotonic: float, time_of: TimeOf | None) -> None:
        """Keep a sample that was taken at this moment; ``time_of`` gives the panel's time, where it is known."""
        self.add_written(partial(_written, sample), monotonic, time_of)

    def add_written(self, write: Write, monotonic: float, time_of: TimeOf | None) -> None:
        """The same for a sample that writes itself, once."""
        entry = _Entry(self._next, monotonic, write)
        self._next += 1
        self._entries.append(entry)
        if time_of:
            self._fix(entry, time_of)
        while len(self._entries) > self._most_samples or self._characters > MOST_CHARACTERS:
            self._drop()
            self.lost += 1

    def fix_times(self, time_of: TimeOf) -> None:
        """Settle the times of what was taken before the panel's was known."""
        for entry in self._entries:
            self._fix(entry, time_of)

    def forget(self, sequence: int) -> None:
        """Everything up to ``sequence`` is stored."""
        while self._entries and self._entries[0].sequence <= sequence:
            self._drop()

    def after(self, sequence: int, most_characters: int) -> tuple[list[str], int]:
        """The next texts after ``sequence`` that together fit, and the sequence of the last one.

        One that is too large alone is skipped for good.
        """
        texts: list[str] = []
        room = most_characters
        last = sequence
        for entry in self._after(sequence):
            size = len(entry.text) + 1
            if size > most_characters:
                self.lost += 1
            elif size > room:
                break
            else:
                texts.append(entry.text)
                room -= size
            last = entry.sequence
        return texts, last

    def taken_after(self, sequence: int) -> float | None:
        """When the next sample after ``sequence`` was taken."""
        return next((entry.monotonic for entry in self._after(sequence)), None)

    def _after(self, sequence: int) -> Iterator[_Entry]:
        first = self._entries[0].sequence if self._entries else 0
        return islice(self._entries, max(0, sequence + 1 - first), None)

    def _fix(self, entry: _Entry, time_of: TimeOf) -> None:
        if entry.write is not None:
            entry.text = entry.write(self.boot_id, entry.sequence, time_of(entry.monotonic))
            entry.write = None
            self._characters += len(entry.text)

    def _drop(self) -> None:
        self._characters -= len(self._entries.popleft().text)


def _written(sample: HostSample, boot_id: str, sequence: int, taken_at: datetime) -> str:
    return codec.dumps(codec.encode(replace(sample, boot_id=boot_id, sequence=sequence, taken_at=taken_at)))
