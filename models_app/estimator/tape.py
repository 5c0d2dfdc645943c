"""A replay of how ggml plans a graph's memory: the same nodes in the same order through the same allocator.

Source: ``ggml/src/ggml-alloc.c``. A tensor is allocated when its node comes, freed after its last use, and some
operations take over the memory of a source of the same layout. All sizes are bytes.
"""

from __future__ import annotations

from bisect import insort
from math import prod

_ENDLESS = 1 << 62


class Node:
    """One tensor. ``owner`` is the tensor whose memory a view looks into, the node itself otherwise, ``None`` outside."""

    __slots__ = (
        "allocated",
        "arrives",
        "children",
        "in_place",
        "owner",
        "pinned",
        "shape",
        "size",
        "sources",
        "start",
        "starts_split",
        "views",
        "visited",
    )

    def __init__(self, shape: tuple[int, ...], size: int, sources: tuple[Node, ...], in_place: bool) -> None:
        self.shape = shape
        self.size = size
        self.sources = sources
        self.in_place = in_place
        self.owner: Node | None = self
        self.children = self.views = self.start = 0
        self.allocated = self.visited = self.pinned = self.arrives = self.starts_split = False


class Tape:
    """A graph as it is written down, and the peak of its memory."""

    def __init__(self, alignment: int = 128) -> None:
        self._alignment = alignment
        self._nodes: list[Node] = []

    def input(self, *shape: int, width: int = 4, copies: int = 1) -> Node:
        """A tensor that comes from elsewhere. ``width`` is bytes per element.

        With several ``copies``, as pipelines keep them, it stays to the end and is not overwritten.
        """
        node = Node(shape, copies * self._padded(prod(shape) * width), (), False)
        node.pinned = copies > 1
        node.arrives = True
        return node

    def copy(self, size: int, starts_split: bool = False) -> Node:
        """A copy of ``size`` bytes of something that lies on another device, made for the next operation.

        ``starts_split`` where the scheduler begins a new part of the graph for it, as it does for every weight.
        """
        node = Node((), self._padded(size), (), False)
        node.arrives, node.starts_split = not starts_split, starts_split
        return node

    def end_split(self) -> None:
        """Something follows that another device computes; what arrives later belongs to a new part of the graph."""
        mark = Node((), 0, (), False)
        mark.owner, mark.visited, mark.starts_split = None, True, True
        self._nodes.append(mark)

    def op(self, shape: tuple[int, ...], *sources: Node, width: int = 4, in_place: bool = False, extra: int = 0) -> Node:
        """An operation with a result of its own; ``in_place`` where ggml lets it overwrite a source of the same shape."""
        return Node(shape, self._padded(prod(shape) * width + extra), sources, in_place)

    def view(self, source: Node) -> Node:
        """Another look at the memory of ``source``."""
        node = Node(source.shape, 0, (source,), False)
        node.owner = source.owner
        return node

    def store(self, *sources: Node) -> Node:
        """An operation whose result lies outside the graph's memory, such as a row written to the KV cache."""
        node = Node((), 0, sources, False)
        node.owner = None
        return node

    def expand(self, node: Node) -> None:
        """Append ``node`` behind everything that it needs (``ggml_build_forward_expand``)."""
        if node.visited:
            return
        node.visited = True
        for source in node.sources:
            if not source.visited:
                self.expand(source)
        self._nodes.append(node)

    def peak_bytes(self) -> int:
        """The size of the buffer that holds the whole graph."""
        nodes = self._scheduled()
        for node in nodes:
            if node.owner is not node and node.owner is not None:
                node.owner.views += 1
            for source in node.sources:
                source.children += 1
        memory = _Memory()
        for node in nodes:
            if node.owner is node and node.size:
                _place(node, memory)
            for source in node.sources:
                _release(source, memory)
        return memory.peak

    def _scheduled(self) -> list[Node]:
        """The nodes with everything that arrives from elsewhere moved to the start of its part of the graph."""
        nodes: list[Node] = []
        start = 0
        for node in self._nodes:
            if node.arrives:
                nodes.insert(start, node)
                start += 1
                continue
            nodes.append(node)
            if node.starts_split:
                start = len(nodes)
        return nodes

    def _padded(self, size: int) -> int:
        return -(-size // self._alignment) * self._alignment


def _place(node: Node, memory: _Memory) -> None:
    node.allocated = True
    if node.in_place:
        for parent in node.sources:
            sole_use = parent.allocated and parent.children == 1 and parent.views == 0 and not parent.pinned
            if sole_use and parent.shape == node.shape:
                node.start = parent.start
                parent.allocated = False
                return
    node.start = memory.allocate(node.size)


def _release(source: Node, memory: _Memory) -> None:
    source.children -= 1
    if source.children or source.views:
        return
    owner = source.owner
    if owner is not source and owner is not None:
        owner.views -= 1
        if owner.views or owner.children:
            return
    if owner is not None and owner.allocated and not owner.pinned:
        memory.free(owner.start, owner.size)
        owner.allocated = False


class _Memory:
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
