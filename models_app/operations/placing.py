"""Which devices a load is expected to land on, and what is missing there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from models_app.estimator.types import Grade
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject


@dataclass(frozen=True, slots=True)
class Placing:
    """The estimate for the chosen devices, every device with what it gives, and the bytes that are missing."""

    reckoning: Reckoning
    rooms: tuple[Room, ...]
    shortfall_bytes: int = 0

    @property
    def chosen(self) -> tuple[Room, ...]:
        """The devices that take something."""
        return tuple(room for room in self.rooms if room.take_bytes)


def place(subject: Subject, rooms: Sequence[Room], gpu: str | None = None) -> Placing:
    """The first set of devices that is enough, else the largest one, with what is missing.

    ``gpu`` is the UUID that was asked for. An estimate of the header or learned grade must fit with its whole error band;
    a rule of thumb, whose band is wide, without.
    """
    placing = Placing(reckon(subject, None), tuple(rooms))
    for chosen in _candidates(subject, rooms, gpu):
        placing = _placing(subject, rooms, chosen)
        if not placing.shortfall_bytes:
            break
    return placing


def _candidates(subject: Subject, rooms: Sequence[Room], gpu: str | None) -> Iterator[list[Room]]:
    """The chosen GPU; all of them for a server that divides every model; else as few as will do, the roomiest first."""
    seen = subject.gpus
    usable = [room for room in rooms if gpu in (None, room.uuid) and (seen is None or not room.uuid or room.uuid in seen)]
    if gpu is None and subject.only_gpu is not None:
        usable = usable[subject.only_gpu :][:1] or usable
    if subject.every_gpu:
        yield usable
        return
    by_room = sorted(usable, key=lambda room: room.available_bytes, reverse=True)
    for count in range(1, len(by_room) + 1):
        yield [room for room in usable if room in by_room[:count]]


def _placing(subject: Subject, rooms: Sequence[Room], chosen: Sequence[Room]) -> Placing:
    has_gpus = any(room.uuid for room in chosen)
    reckoning = reckon(subject, chosen if has_gpus else [])
    if not reckoning.devices:
        return Placing(reckoning, tuple(rooms))
    taken = {
        room.uuid: replace(room, take_bytes=device.total_bytes, error_bytes=reckoning.error_share(device), terms=device)
        for room, device in zip(chosen, reckoning.devices, strict=True)
    }
    missing = (missing_bytes(room, reckoning.grade) for room in taken.values())
    return Placing(reckoning, tuple(taken.get(room.uuid, room) for room in rooms), sum(missing))


def missing_bytes(room: Room, grade: Grade) -> int:
    """What a device lacks for its share; 0 where it has enough."""
    wanted_bytes = room.take_bytes if grade is Grade.QUICK else room.reserve_bytes
    return max(0, wanted_bytes - room.available_bytes) if room.take_bytes else 0
