"""When the tensors of a graph are allocated, taken over and freed: what ``ggml/src/ggml-alloc.c`` reads from it alone.

The result is a list of steps for each section of the graph. All sizes are bytes.
"""

from __future__ import annotations

from collections import Counter

from models_app.estimator.placement import HOST
from models_app.estimator.repeats import Repeats
from models_app.estimator.scheduler import scheduled
from models_app.estimator.steps import FREE, HERE, LASTING, TAKE, TAKE_OVER, TRIM, IrregularGraph, Section, Step
from models_app.estimator.tape import Node, Tape

GPU_ALIGNMENT = 128
HOST_ALIGNMENT = 32


class Lifetimes:
    """The steps of a graph, and ``devices``, by whose position the steps name the memories.

    Raises ``IrregularGraph``.
    """

    def __init__(self, tape: Tape, gpu_count: int, copies: int, repeats: Repeats | None) -> None:
        self.devices = [HOST, *range(gpu_count)]
        self.preparation: list[Step] = []
        self._nodes = [node for node in scheduled(tape.nodes, gpu_count) if not (node.gpu_only and node.device == HOST)]
        self._copies = copies
        self._lasting = 0
        self.order = _order(repeats)
        self.sections = [Section() for _ in range(tape.section + 1)]
        for node in tape.inputs:
            node.lasts = True
        self._count_uses()
        self._give_keys(repeats is None)
        self._prepare(tape.inputs)
        for node in self._nodes:
            if node.owner is node and not node.allocated:
                self._place(node)
            for source in node.sources:
                source.children -= 1
                if not (source.children or source.views):
                    self._release(source, node.section)
        for node in (*tape.inputs, *self._nodes):
            node.owner = None  # A node that owns itself is a cycle, which the garbage collector would have to find.
        if repeats is not None:
            self._repeat(repeats)

    def _prepare(self, inputs: list[Node]) -> None:
        """Inputs, and in a pipeline whatever is copied, are allocated before anything else."""
        for node in inputs:
            self._pin(node, self._copies if node.device == HOST else 1)
        if self._copies > 1:
            times = Counter(number for number, _ in self.order)
            for node in self._nodes:
                if node.is_copy:
                    for _ in range(1 if node.lasts else times[node.section]):
                        self._pin(node, self._copies)

    def _pin(self, node: Node, copies: int) -> None:
        node.allocated = node.lasts = True
        node.pinned = node.pinned or copies > 1
        node.key = self._lasting = self._lasting + 1
        _measure(node)
        if node.padded:
            self.preparation.append((TAKE, LASTING, node.key, node.memory, copies * node.padded, 0))

    def _count_uses(self) -> None:
        for node in self._nodes:
            if node.owner is not node and node.owner is not None:
                node.owner.views += 1
            for source in node.sources:
                source.children += 1
                owner = source.owner
                if owner is not None and node.section > owner.section:
                    owner.is_left = True
                    if node.section > owner.section + 1:
                        owner.lasts = True

    def _give_keys(self, all_last: bool) -> None:
        """Keys within a section: what it leaves to the next one is counted, so that sections of a kind leave the same."""
        left = [0] * len(self.sections)
        for number, node in enumerate(self._nodes):
            if node.owner is not node:
                continue
            _measure(node)
            node.lasts = node.lasts or all_last
            if node.is_left and not node.lasts:
                left[node.section] += 1
                node.key = left[node.section]
            else:
                node.key = -1 - number

    def _place(self, node: Node) -> None:
        node.allocated = True
        if node.in_place:
            for parent in node.sources:
                alike = parent.shape == node.shape and parent.size == node.size
                if alike and parent.allocated and not parent.pinned and parent.children == 1 and parent.views == 0:
                    self._take_over(node, parent)
                    return
        if node.padded:
            bank = LASTING if node.lasts else HERE
            self.sections[node.section].steps.append((TAKE, bank, node.key, node.memory, node.padded, 0))

    def _take_over(self, node: Node, parent: Node) -> None:
        parent.allocated = False
        if not node.padded:
            return
        steps, section = self.sections[node.section].steps, node.section
        bank = _bank(node, section)
        steps.append((TAKE_OVER, bank, node.key, _bank(parent, section), parent.key, 0))
        if parent.padded > node.padded:
            steps.append((TRIM, bank, node.key, node.memory, parent.padded - node.padded, node.padded))

    def _release(self, source: Node, section: int) -> None:
        """Free the memory of a tensor that nothing needs any longer, unless another view of it is needed."""
        owner = source.owner
        if owner is not source and owner is not None:
            owner.views -= 1
            if owner.views or owner.children:
                return
        if owner is not None and owner.allocated and not owner.pinned:
            owner.allocated = False
            if owner.padded:
                bank = LASTING if owner.lasts else section - owner.section
                self.sections[section].steps.append((FREE, bank, owner.key, owner.memory, owner.padded, 0))

    def _repeat(self, repeats: Repeats) -> None:
        """What a section does where it stands for another one: nothing to what lasts."""
        numbers = {index: number for number, index in enumerate(repeats.written, 1)}
        repeated = {numbers[other] for index, other in enumerate(repeats.stands_for) if index != other}
        if any(node.needed_in in repeated for node in self._nodes if node.needed_in):
            raise IrregularGraph("What a layer alone needs is copied before the layer begins.")
        for number in repeated:
            witness = repeats.witnesses[repeats.written[number - 1]]
            self.sections[number].leave_out_shared(self.sections[numbers[witness]])


def _order(repeats: Repeats | None) -> list[tuple[int, bool]]:
    """The sections as they run, each with whether it runs in its own place: embeddings, layers, output."""
    if repeats is None:
        return [(0, True)]
    numbers = {index: number for number, index in enumerate(repeats.written, 1)}
    layers = [(numbers[other], index == other) for index, other in enumerate(repeats.stands_for)]
    return [(0, True), *layers, (len(numbers) + 1, True)]


def _bank(node: Node, section: int) -> int:
    return LASTING if node.lasts else section - node.section


def _measure(node: Node) -> None:
    """The position of the node's device among all devices, and its bytes there; a GPU's scratch counts on a GPU only."""
    device = HOST if node.device is None else node.device
    node.memory = device + 1
    if device == HOST:
        node.padded = -(-node.size // HOST_ALIGNMENT) * HOST_ALIGNMENT
    else:
        node.padded = -(-(node.size + node.extra) // GPU_ALIGNMENT) * GPU_ALIGNMENT
