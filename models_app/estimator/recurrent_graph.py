"""Recurrent layers in the compute graph: Mamba 1 and 2, gated delta nets, short convolutions.

Source: ``build_rs`` in ``src/llama-graph.cpp``, ``src/models/mamba-base.cpp``, ``delta-net-base.cpp``, ``qwen35.cpp``,
``qwen3next.cpp`` and ``lfm2.cpp``.
"""

from __future__ import annotations

from collections.abc import Callable

from models_app.estimator.graph import Graph
from models_app.estimator.placement import HOST
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node


def is_delta_net(layer: Layer) -> bool:
    """Whether the layer, if it is recurrent, is a gated delta net: these write down their input before their states."""
    return not any(name in layer.tensors for name in ("shortconv.conv.weight", "ssm_x.weight", "ssm_d"))


class Recurrence:
    """Writes the recurrent mixers of layers onto a graph. ``rows`` says which rows of the states the batch needs."""

    def __init__(self, graph: Graph, rows: Node) -> None:
        self.graph = graph
        self.tape = graph.tape
        self.shape = graph.plan.shape
        self.slots = graph.plan.context.slots
        self.tokens = graph.plan.tokens
        self._rows = self.tape.view(rows)
        self._other_rows = self.tape.part(rows, (0,))

    def write(self, layer: Layer, normed: Node) -> Node:
        """The mixer that the layer's tensors call for."""
        if is_delta_net(layer):
            return self._delta_net(layer, normed)
        if "shortconv.conv.weight" in layer.tensors:
            return self._short_convolution(layer, normed)
        if "ssm_x.weight" in layer.tensors:
            return self._mamba(layer, normed)
        return self._mamba2(layer, normed)

    def _device(self, layer: Layer) -> int:
        """Where the layer's states lie."""
        plan = self.graph.plan
        return plan.placement.layers[layer.index] if plan.settings.kv_offload else HOST

    def _state(self, layer: Layer, elements: int, read: Callable[[Node], Node] | None = None) -> Node:
        """What the batch needs of a state: one row is cleared, those of its sequences are read, others are moved."""
        tape, device = self.tape, self._device(layer)
        rows = self.slots * (1 + self.graph.plan.settings.draft_length)
        states = tape.outside(4 * elements * rows, device)
        tape.expand(tape.store(device=device))
        state = read(states) if read else tape.op((elements, self.slots), states, self._rows)
        tape.expand(state)
        tape.expand(tape.store(tape.op((0,), states, self._other_rows), device=device))
        return state

    def _convolve(self, layer: Layer, source: Node, channels: int, name: str) -> Node:
        """The causal convolution: state and batch side by side, the last columns back to the state, the result."""
        tape = self.tape
        kernel = self.shape.recurrent.convolution // max(1, channels) + 1
        state = tape.view(self._state(layer, self.shape.recurrent.convolution))
        columns = kernel - 1 + self.tokens // self.slots
        joined = tape.op((columns, channels, self.slots), state, tape.view(source))
        last = tape.part(joined, (kernel - 1, channels, self.slots))
        tape.expand(tape.store(last, device=self._device(layer)))
        return self.graph.product((channels, self.tokens), layer, name, joined)

    def _active(self, layer: Layer, source: Node, channels: int) -> Node:
        """The convolution with its bias and activation."""
        convolved = self._convolve(layer, source, channels, "ssm_conv1d.weight")
        return self.graph.norm(self.graph.with_small(convolved, layer, "ssm_conv1d.bias"))

    def _short_convolution(self, layer: Layer, normed: Node) -> Node:
        tape, shape = self.tape, (self.shape.embedding_length, self.tokens)
        three = self.graph.project(normed, layer, "shortconv.in_proj.weight")
        product = tape.op(shape, tape.part(three, shape), tape.part(three, shape))
        convolved = self._convolve(layer, product, shape[0], "shortconv.conv.weight")
        result = tape.op(shape, tape.part(three, shape), convolved, in_place=True)
        return tape.view(self.graph.project(result, layer, "shortconv.out_proj.weight"))

    def _mamba(self, layer: Layer, normed: Node) -> Node:
        tape, graph, inner, tokens = self.tape, self.graph, self.shape.ssm_inner_size, self.tokens
        both = graph.project(normed, layer, "ssm_in.weight")
        active = self._active(layer, tape.part(both, (inner, tokens)), inner)
        mixed = graph.project(active, layer, "ssm_x.weight")
        step = tape.op((self.shape.ssm_time_step_rank, tokens), tape.part(mixed, (self.shape.ssm_time_step_rank, tokens)))
        step = graph.project(step, layer, "ssm_dt.weight")
        kept = [tape.part(mixed, (self.shape.ssm_state_size, tokens)) for _ in range(2)]
        if "ssm_b_norm.weight" in layer.tensors:
            kept = [graph.norm(view) for view in kept]
        scanned = self._scan(layer, tape.view(active), step, *kept)
        return tape.view(self._gated_output(layer, scanned, active, both))

    def _mamba2(self, layer: Layer, normed: Node) -> Node:
        tape, graph, tokens, inner = self.tape, self.graph, self.tokens, self.shape.ssm_inner_size
        channels = inner + 2 * self.shape.ssm_group_count * self.shape.ssm_state_size
        everything = graph.project(normed, layer, "ssm_in.weight")
        active = self._active(layer, tape.part(everything, (channels, tokens)), channels)
        step_shape = (self.shape.ssm_time_step_rank, tokens)
        step = graph.with_small(tape.op(step_shape, tape.part(everything, step_shape)), layer, "ssm_dt.bias")
        parts = [tape.part(active, (length, tokens)) for length in (inner, channels - inner, channels - inner)]
        scanned = self._scan(layer, parts[0], step, *parts[1:])
        return self._gated_output(layer, scanned, parts[0], everything)

    def _scan(self, layer: Layer, source: Node, step: Node, *others: Node) -> Node:
        """The state-space scan: one tensor holds the results of all tokens and the new states.

        It has a single row, too few to be computed on a GPU where the layer is in host RAM.
        """
        elements = self.shape.ssm_inner_size * self.tokens + self.shape.recurrent.state * self.slots
        device, weight = self.graph.weight(layer, "ssm_a", self.graph.tensor(layer, "ssm_a"), 1)

        def read(states: Node) -> Node:
            return self.tape.op((elements,), states, source, step, *weight, *others, self._rows, device=device)

        scanned = self._state(layer, self.shape.recurrent.state, read)
        self._store_state(layer, scanned)
        return scanned

    def _store_state(self, layer: Layer, result: Node) -> None:
        shape = (self.shape.recurrent.state, self.slots)
        new = self.tape.part(result, shape, 4 * shape[0] * shape[1])
        self.tape.expand(self.tape.store(new, device=self._device(layer)))

    def _gated_output(self, layer: Layer, scanned: Node, skipped: Node, gate_source: Node) -> Node:
        tape, graph = self.tape, self.graph
        shape = (self.shape.ssm_inner_size, self.tokens)
        skip = graph.scaled(skipped, layer, "ssm_d")
        result = tape.op(shape, self._output(scanned), skip, in_place=True)
        result = tape.op(shape, tape.op(shape, tape.part(gate_source, shape)), result)
        if "ssm_norm.weight" in layer.tensors:
            result = graph.layer_norm(tape.view(result), layer, "ssm_norm.weight")
        return graph.project(result, layer, "ssm_out.weight")

    def _output(self, scanned: Node) -> Node:
        """The results of all tokens in the tensor that holds the new states too."""
        shape = (self.shape.ssm_inner_size, self.tokens)
        return self.tape.part(scanned, shape, 4 * shape[0] * shape[1])

    def _decay_and_strength(self, layer: Layer, normed: Node, heads: int) -> tuple[Node, Node]:
        """How much of a delta net's state each token forgets and overwrites: from two projections, or one for both."""
        graph, tape, shape = self.graph, self.tape, (heads, self.tokens)
        if "ssm_ba.weight" in layer.tensors:
            both = graph.project(normed, layer, "ssm_ba.weight")
            strength, decay = (tape.op(shape, tape.part(both, shape)) for _ in range(2))
        else:
            strength, decay = (graph.project(normed, layer, f"ssm_{name}.weight") for name in ("beta", "alpha"))
        return graph.scaled(graph.norm(decay), layer, "ssm_a"), graph.norm(strength)

    def _delta_net(self, layer: Layer, normed: Node) -> Node:
        tape, graph, tokens, inner = self.tape, self.graph, self.tokens, self.shape.ssm_inner_size
        heads, keys = self.shape.ssm_time_step_rank, self.shape.ssm_group_count * self.shape.ssm_state_size
        channels = inner + 2 * keys
        tape.expand(normed)
        mixed = graph.project(normed, layer, "attn_qkv.weight")
        gate = graph.project(normed, layer, "attn_gate.weight")
        decay, strength = self._decay_and_strength(layer, normed, heads)
        convolved = graph.norm(self._convolve(layer, mixed, channels, "ssm_conv1d.weight"))
        state = tape.view(self._state(layer, self.shape.recurrent.state))
        query, key = (graph.norm(tape.part(convolved, (keys, tokens))) for _ in range(2))
        elements = inner * tokens + self.shape.recurrent.state * self.slots
        result = tape.op((elements,), query, key, tape.part(convolved, (inner, tokens)), decay, strength, state)
        self._store_state(layer, result)
        output = graph.layer_norm(self._output(result), layer, "ssm_norm.weight")
        gate = tape.op((inner, tokens), tape.view(gate, (inner, tokens)), in_place=True)
        output = tape.op((inner, tokens), output, gate, in_place=True)
        return tape.view(graph.project(output, layer, "ssm_out.weight"))
