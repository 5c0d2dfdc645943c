"""A compute graph as llama.cpp writes it down: the same operations in the same order. All sizes are bytes."""

from __future__ import annotations

from math import prod

from models_app.estimator.placement import HOST


class Node:
    """One tensor. ``owner`` is the tensor whose memory a view looks into, the node itself otherwise, ``None`` outside.

    ``device`` is where it lies and is computed, ``None`` until the scheduler decides. A view is no operation of its own.
    """

    __slots__ = (
        "allocated",
        "children",
        "device",
        "ends_section",
        "extra",
        "gpu_only",
        "host_only",
        "in_place",
        "is_copy",
        "is_left",
        "is_view",
        "is_weight",
        "key",
        "lasts",
        "memory",
        "needed_in",
        "owner",
        "padded",
        "pinned",
        "section",
        "shape",
        "size",
        "sources",
        "views",
        "visited",
    )

    def __init__(self, shape: tuple[int, ...], size: int, sources: tuple[Node, ...], device: int | None = None) -> None:
        self.shape = shape
        self.size = size
        self.sources = sources
        self.device = device
        self.owner: Node | None = self
        self.children = self.views = self.extra = self.key = self.section = self.memory = self.padded = self.needed_in = 0
        self.allocated = self.visited = self.pinned = self.lasts = self.is_left = self.ends_section = False
        self.in_place = self.host_only = self.gpu_only = self.is_copy = self.is_view = self.is_weight = False


class Tape:
    """A graph as it is written down. ``inputs`` are there from the beginning, ``nodes`` follow in order."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[Node] = []
        self.section = 0

    def end_section(self, last: Node) -> None:
        """What follows ``last`` in the graph belongs to the next section: a layer, or the output."""
        last.ends_section = True
        self.section += last.visited

    def input(self, *shape: int, width: int = 4, device: int = HOST) -> Node:
        """A tensor that no operation makes. ``width`` is bytes per element."""
        node = Node(shape, prod(shape) * width, (), device)
        node.visited = True
        self.inputs.append(node)
        return node

    def outside(self, size: int, device: int, is_weight: bool = False) -> Node:
        """A weight or a cache: it lies in a buffer of its own; ``size`` bytes are copied to another device."""
        node = Node((), size, (), device)
        node.owner, node.visited, node.is_weight = None, True, is_weight
        return node

    def op(
        self,
        shape: tuple[int, ...],
        *sources: Node,
        width: int = 4,
        in_place: bool = False,
        extra: int = 0,
        device: int | None = None,
    ) -> Node:
        """An operation with a result of its own; ``in_place`` where ggml lets it overwrite a source of the same shape.

        ``extra`` are bytes of scratch that only a GPU needs. ``device`` is where its weights are.
        """
        node = Node(shape, prod(shape) * width, sources, device)
        node.in_place, node.extra = in_place, extra
        return node

    def view(self, source: Node, shape: tuple[int, ...] | None = None) -> Node:
        """Another look at the memory of ``source``; ``shape`` where all of it is read in another shape."""
        node = Node(shape or source.shape, source.size, (source,))
        node.owner, node.is_view = source.owner, True
        return node

    def part(self, source: Node, shape: tuple[int, ...], span: int = 0) -> Node:
        """A look at a part of ``source``, which spans ``span`` bytes, all of it where it takes something from every row."""
        node = self.view(source, shape)
        node.size = span or source.size
        return node

    def written(self, target: Node, *sources: Node) -> Node:
        """An operation whose result lies in the memory of ``target``."""
        node = Node(target.shape, target.size, (*sources, target))
        node.owner = target.owner
        return node

    def store(self, *sources: Node, device: int | None = None) -> Node:
        """An operation whose result lies outside the graph's memory, such as a row written to the KV cache."""
        node = Node((), 0, sources, device)
        node.owner = None
        return node

    def keep(self, *sources: Node) -> None:
        """A kernel that does several operations at once on a GPU keeps ``sources`` until here."""
        node = self.store(*sources)
        node.gpu_only = True
        self.expand(node)

    def expand(self, node: Node) -> None:
        """Append ``node`` behind everything that it needs (``ggml_build_forward_expand``)."""
        if node.visited:
            return
        node.visited = True
        for source in node.sources:
            if not source.visited:
                self.expand(source)
        node.section = self.section
        self.nodes.append(node)
        self.section += node.ends_section
