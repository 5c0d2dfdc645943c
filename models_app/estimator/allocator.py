"""How much memory a graph takes on each device: a replay of ``ggml/src/ggml-alloc.c``.

A section of the graph that meets the memory in a state in which it met it before does the same again, and is not repeated.
All sizes are bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from models_app.estimator.lifetimes import Lifetimes
from models_app.estimator.repeats import Repeats
from models_app.estimator.steps import BEFORE, FREE, HERE, LASTING, TAKE, TAKE_OVER, IrregularGraph, Section, Step
from models_app.estimator.tape import Tape

_ENDLESS = 1 << 62
_LARGEST = 1 << 60
"""More than any hole but the endless one has."""

_State = tuple[tuple[tuple[tuple[int, int], ...], ...], tuple[tuple[int, int], ...]]
"""The holes of every memory, and where the tensors lie that the last section left to the next."""


def peak_bytes(tape: Tape, gpu_count: int, copies: int = 1, repeats: Repeats | None = None) -> dict[int, int]:
    """The size of the buffer on every device that computes a part of the graph.

    With several ``copies``, as pipelines keep them, whatever arrives on a device stays to the end. ``repeats`` says which
    layers stand for others. Raises ``IrregularGraph`` where they cannot.
    """
    lifetimes = Lifetimes(tape, gpu_count, copies, repeats)
    replay = _Replay(len(lifetimes.devices))
    replay.follow(lifetimes.preparation)
    try:
        for number, is_own in lifetimes.order:
            section = lifetimes.sections[number]
            if is_own:
                replay.follow(section.steps)
            else:
                replay.repeat(section)
    except KeyError as missing:
        raise IrregularGraph(f"Tensor {missing} was not left by the section before.") from None
    peaks = {device: memory.peak for device, memory in zip(lifetimes.devices, replay.memories, strict=True)}
    return {device: peak for device, peak in peaks.items() if peak}


class _Replay:
    """The memories of all devices, and where in them the tensors lie, by bank."""

    def __init__(self, count: int) -> None:
        self.memories = [Memory() for _ in range(count)]
        self._starts: list[dict[int, int]] = [{}, {}, {}]
        self._known: dict[tuple[int, _State], _State] = {}

    def repeat(self, section: Section) -> None:
        """Let a section stand for another one."""
        before = id(section), self._state()
        after = self._known.get(before)
        if after is None:
            self.follow(section.repeated)
            self._known[before] = self._state()
            return
        for memory, holes in zip(self.memories, after[0], strict=True):
            memory.holes[:] = holes
        self._starts[BEFORE] = dict(after[1])

    def _state(self) -> _State:
        return tuple(tuple(memory.holes) for memory in self.memories), tuple(self._starts[BEFORE].items())

    def follow(self, steps: Iterable[Step]) -> None:
        """Take the steps of one section."""
        starts, memories = self._starts, self.memories
        for action, bank, key, first, second, third in steps:
            if action == TAKE:
                starts[bank][key] = memories[first].allocate(second)
            elif action == FREE:
                memories[first].free(starts[bank].pop(key), second)
            elif action == TAKE_OVER:
                starts[bank][key] = starts[first].pop(second)
            else:
                memories[first].free(starts[bank][key] + third, second)
        starts[:] = {}, starts[HERE], starts[LASTING]


class Memory:
    """ggml's dynamic allocator: the best-fitting hole, otherwise the end. ``peak`` is the highest byte ever used."""

    def __init__(self) -> None:
        self.peak = 0
        self.holes: list[tuple[int, int]] = [(0, _ENDLESS)]

    def allocate(self, size: int) -> int:
        """The start of a new allocation."""
        holes = self.holes
        best, best_size = len(holes) - 1, _LARGEST
        for index, (_, hole_size) in enumerate(holes):
            if size <= hole_size <= best_size:
                best, best_size = index, hole_size
        start, hole_size = holes[best]
        if hole_size == size:
            del holes[best]
        else:
            holes[best] = (start + size, hole_size - size)
        if start + size > self.peak:
            self.peak = start + size
        return start

    def free(self, start: int, size: int) -> None:
        """Give back what was allocated, and merge it with the holes beside it."""
        holes = self.holes
        first = after = bisect_left(holes, (start, size))
        if holes[after][0] == start + size:
            size += holes[after][1]
            after += 1
        if first:
            before_start, before_size = holes[first - 1]
            if before_start + before_size == start:
                start, size, first = before_start, before_size + size, first - 1
        holes[first:after] = [(start, size)]
