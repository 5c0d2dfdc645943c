"""Which device computes what, and what is copied to it: ``ggml_backend_sched_split_graph`` of ``ggml-backend.cpp``.

Operations with weights run where these lie, the others beside their neighbours. The graph falls into parts of one device
each; what a part needs from elsewhere is copied when it begins, and a part ends where another weight is to be fetched.
"""

from __future__ import annotations

from collections.abc import Iterable

from models_app.estimator.placement import HOST
from models_app.estimator.tape import Node


def scheduled(nodes: list[Node], gpu_count: int) -> list[Node]:
    """The nodes with devices, and with the copies at the start of the part that needs them first."""
    if not gpu_count:
        for node in nodes:
            node.device = HOST
        return nodes
    _assign([node for node in nodes if not node.is_view])
    for node in nodes:
        if node.is_view:
            node.device = node.owner.device if node.owner is not None else node.sources[0].device
    return _Splitter().run(nodes)


def devices(nodes: list[Node], *, fetches_weights: bool) -> dict[Node, int | None]:
    """The device of every operation; in small batches, those with weights in host RAM run there. Nothing is changed."""
    operations = [node for node in nodes if not node.is_view]
    known = [node.device for node in operations]
    if not fetches_weights:
        for node in operations:
            if node.sources and node.sources[0].is_weight:
                node.device = HOST
    _assign(operations)
    found = {node: node.device for node in operations}
    for node, device in zip(operations, known, strict=True):
        node.device = device
    return found


def _assign(operations: list[Node]) -> None:
    """Give every operation a device: GPUs spread first, down the graph and up; what remains follows any neighbour."""
    for is_gpu_pass in (True, False):
        _spread(operations, is_gpu_pass)
        _spread(reversed(operations), is_gpu_pass)
        if None not in [node.device for node in operations]:
            return
    for node in operations:
        if node.device is None:
            node.device = HOST if node.host_only else 0


def _spread(operations: Iterable[Node], is_gpu_pass: bool) -> None:
    current: int | None = None
    for node in operations:
        if node.device is not None:
            current = None if is_gpu_pass and node.device == HOST else node.device
        elif current is not None and not (node.host_only and current != HOST):
            node.device = current


class _Splitter:
    """One pass over the graph. A tensor is copied to a device once, for all parts that need it there."""

    def __init__(self) -> None:
        self._result: list[Node] = []
        self._arrivals: list[Node] = []
        self._part: list[Node] = []
        self._copies: dict[tuple[int, int], Node] = {}

    def run(self, nodes: list[Node]) -> list[Node]:
        current: int | None = None
        for node in nodes:
            if not node.is_view:
                device = node.device
                copies = fetches = False
                for source in node.sources:
                    if source.device != device:
                        copies = True
                        fetches = fetches or source.is_weight
                if device != current or (fetches and self._arrivals):
                    self._flush()
                    current = device
                if copies and device is not None:
                    node.sources = tuple(
                        [
                            source if source.device == device else self._copy(source, node.section, device)
                            for source in node.sources
                        ]
                    )
            self._part.append(node)
        self._flush()
        return self._result

    def _flush(self) -> None:
        first = self._part[0].section if self._part else 0
        for node in self._arrivals:
            node.needed_in = node.needed_in if node.needed_in > first + 1 else 0
            node.section = first
        self._result += self._arrivals
        self._result += self._part
        self._arrivals, self._part = [], []

    def _copy(self, source: Node, section: int, device: int) -> Node:
        """The copy of ``source`` on ``device``. The original lives until it is made."""
        made = self._copies.get((id(source), device))
        if made is None:
            made = self._copies[id(source), device] = Node(source.shape, source.size, (), device)
            made.is_copy = True
            made.section = section
            if source.owner is None or (source.is_view and source.owner.sources):
                made.needed_in = section
            if source.owner is not None:
                waits = Node((), 0, (source,), source.device)
                waits.owner = None
                self._arrivals.append(waits)
            self._arrivals.append(made)
        return made
