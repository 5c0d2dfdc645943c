"""How much memory a graph takes on each device: a replay of ``ggml/src/ggml-alloc.c``.

A tensor is allocated when its node comes, freed after its last use, and some operations take over the memory of a
source of the same layout. All sizes are bytes.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict

from models_app.estimator.placement import HOST
from models_app.estimator.scheduler import scheduled
from models_app.estimator.tape import Node, Tape

GPU_ALIGNMENT = 128
HOST_ALIGNMENT = 32
_ENDLESS = 1 << 62


def peak_bytes(tape: Tape, gpu_count: int, copies: int = 1) -> dict[int, int]:
    """The size of the buffer on every device that computes a part of the graph.

    With several ``copies``, as pipelines keep them, whatever arrives on a device stays to the end.
    """
    nodes = [node for node in scheduled(tape.nodes, gpu_count) if not (node.gpu_only and node.device == HOST)]
    memory: defaultdict[int, Memory] = defaultdict(Memory)
    for node in tape.inputs:
        _allocate_input(node, memory, copies if node.device == HOST else 1)
    if copies > 1:
        for node in nodes:
            if node.is_copy:
                _allocate_input(node, memory, copies)
    for node in nodes:
        if node.owner is not node and node.owner is not None:
            node.owner.views += 1
        for source in node.sources:
            source.children += 1
    for node in nodes:
        if node.owner is node and not node.allocated:
            _place(node, memory)
        for source in node.sources:
            _release(source, memory)
    for node in (*tape.inputs, *nodes):
        node.owner = None  # A node that owns itself is a cycle, which the garbage collector would have to find.
    return {device: one.peak for device, one in memory.items()}


def _allocate_input(node: Node, memory: defaultdict[int, Memory], copies: int) -> None:
    node.allocated = True
    node.pinned = node.pinned or copies > 1
    node.start = memory[_device(node)].allocate(copies * _size(node))


def _device(node: Node) -> int:
    return HOST if node.device is None else node.device


def _size(node: Node) -> int:
    """Bytes with padding; a GPU's scratch counts on a GPU only."""
    on_host = _device(node) == HOST
    alignment = HOST_ALIGNMENT if on_host else GPU_ALIGNMENT
    return -(-(node.size if on_host else node.size + node.extra) // alignment) * alignment


def _place(node: Node, memory: defaultdict[int, Memory]) -> None:
    node.allocated = True
    mine = memory[_device(node)]
    size = _size(node)
    if node.in_place:
        for parent in node.sources:
            alike = parent.shape == node.shape and parent.size == node.size
            if alike and parent.allocated and not parent.pinned and parent.children == 1 and parent.views == 0:
                node.start, parent.allocated = parent.start, False
                if _size(parent) > size:
                    mine.free(parent.start + size, _size(parent) - size)
                return
    node.start = mine.allocate(size) if size else 0


def _release(source: Node, memory: defaultdict[int, Memory]) -> None:
    source.children -= 1
    if source.children or source.views:
        return
    owner = source.owner
    if owner is not source and owner is not None:
        owner.views -= 1
        if owner.views or owner.children:
            return
    if owner is not None and owner.allocated and not owner.pinned:
        memory[_device(owner)].free(owner.start, _size(owner))
        owner.allocated = False


class Memory:
    """ggml's dynamic allocator: the best-fitting hole, otherwise the end. ``peak`` is the highest byte ever used."""

    def __init__(self) -> None:
        self.peak = 0
        self._holes: list[tuple[int, int]] = [(0, _ENDLESS)]

    def allocate(self, size: int) -> int:
        holes = self._holes
        best = len(holes) - 1
        best_size = _ENDLESS
        for index in range(best):
            hole_size = holes[index][1]
            if size <= hole_size <= best_size:
                best, best_size = index, hole_size
        start, hole_size = holes[best]
        if hole_size == size:
            del holes[best]
        else:
            holes[best] = (start + size, hole_size - size)
        self.peak = max(self.peak, start + size)
        return start

    def free(self, start: int, size: int) -> None:
        holes = self._holes
        for index, (hole_start, hole_size) in enumerate(holes):
            if hole_start + hole_size == start:
                self._merge(index, hole_start, hole_size + size)
                return
            if start + size == hole_start:
                if index and sum(holes[index - 1]) == start:
                    before = holes[index - 1]
                    holes[index - 1 : index + 1] = [(before[0], before[1] + size + hole_size)]
                else:
                    holes[index] = (start, size + hole_size)
                return
        insort(holes, (start, size))

    def _merge(self, index: int, start: int, size: int) -> None:
        holes = self._holes
        if index + 1 < len(holes) and start + size == holes[index + 1][0]:
            size += holes.pop(index + 1)[1]
        holes[index] = (start, size)
