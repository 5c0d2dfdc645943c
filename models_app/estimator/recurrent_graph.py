"""Recurrent layers in the compute graph: Mamba 1 and 2, gated delta nets, short convolutions.

Source: ``src/models/mamba-base.cpp``, ``delta-net-base.cpp``, ``qwen35.cpp``, ``qwen3next.cpp`` and ``lfm2.cpp``.
"""

from __future__ import annotations

from models_app.estimator.graph import Graph
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node


class Recurrence:
    """Writes the recurrent mixers of layers onto a graph."""

    def __init__(self, graph: Graph, rows: Node) -> None:
        self.graph = graph
        self.tape = graph.tape
        self.shape = graph.plan.shape
        self.slots = graph.plan.context.slots
        self.tokens = graph.plan.tokens
        self._rows = rows

    def write(self, layer: Layer, normed: Node) -> Node:
        """The mixer that the layer's tensors call for."""
        if "shortconv.conv.weight" in layer.tensors:
            return self._short_convolution(layer, normed)
        if "ssm_x.weight" in layer.tensors:
            return self._mamba(layer, normed)
        if "ssm_in.weight" in layer.tensors and "ssm_beta_alpha.weight" not in layer.tensors:
            return self._mamba2(layer, normed)
        return self._delta_net(layer, normed)

    def _state(self, elements: int) -> Node:
        """The rows of the state that belong to the batch's sequences, copied out of the cache."""
        state = self.tape.op((elements, self.slots), self._rows)
        self.tape.expand(state)
        return state

    def _convolve(self, source: Node, channels: int) -> Node:
        """The causal convolution: state and batch side by side, the last columns back to the state, the result."""
        tape = self.tape
        kernel = self.shape.recurrent.convolution // max(1, channels) + 1
        state = tape.view(self._state(self.shape.recurrent.convolution))
        columns = kernel - 1 + self.tokens // self.slots
        joined = tape.op((columns, channels, self.slots), state, tape.view(source))
        tape.expand(tape.store(tape.view(joined)))
        return tape.op((channels, self.tokens), joined)

    def _short_convolution(self, layer: Layer, normed: Node) -> Node:
        tape, embedding = self.tape, self.shape.embedding_length
        three = self.graph.project(normed, layer, "shortconv.in_proj.weight")
        product = tape.op((embedding, self.tokens), tape.view(three), tape.view(three))
        convolved = self._convolve(product, embedding)
        result = tape.op((embedding, self.tokens), tape.view(three), convolved, in_place=True)
        return tape.view(self.graph.project(result, layer, "shortconv.out_proj.weight"))

    def _mamba(self, layer: Layer, normed: Node) -> Node:
        tape, graph, inner, tokens = self.tape, self.graph, self.shape.ssm_inner_size, self.tokens
        both = graph.project(normed, layer, "ssm_in.weight")
        active = graph.norm(self._convolve(both, inner))
        mixed = graph.project(active, layer, "ssm_x.weight")
        step = tape.op((self.shape.ssm_time_step_rank, tokens), tape.view(mixed))
        step = graph.project(step, layer, "ssm_dt.weight")
        kept = [tape.view(mixed), tape.view(mixed)]
        if "ssm_b_norm.weight" in layer.tensors:
            kept = [graph.norm(view, (self.shape.ssm_state_size, tokens)) for view in kept]
        scanned = self._scan(tape.view(active), step, *kept)
        return tape.view(self._gated_output(layer, scanned, active, both))

    def _mamba2(self, layer: Layer, normed: Node) -> Node:
        tape, graph, tokens, inner = self.tape, self.graph, self.tokens, self.shape.ssm_inner_size
        channels = inner + 2 * self.shape.ssm_group_count * self.shape.ssm_state_size
        everything = graph.project(normed, layer, "ssm_in.weight")
        active = graph.norm(self._convolve(everything, channels))
        step = tape.op((self.shape.ssm_time_step_rank, tokens), tape.view(everything))
        scanned = self._scan(tape.view(active), step, tape.view(active), tape.view(active))
        return self._gated_output(layer, scanned, tape.view(active), everything)

    def _scan(self, source: Node, step: Node, *others: Node) -> Node:
        """The state-space scan: one tensor holds the results of all tokens and the new states."""
        elements = self.shape.ssm_inner_size * self.tokens + self.shape.recurrent.state * self.slots
        scanned = self.tape.op((elements,), source, step, *others, self._rows)
        self.tape.expand(scanned)
        self.tape.expand(self.tape.store(self.tape.view(scanned)))
        return scanned

    def _gated_output(self, layer: Layer, scanned: Node, skipped: Node, gate_source: Node) -> Node:
        tape, graph = self.tape, self.graph
        shape = (self.shape.ssm_inner_size, self.tokens)
        skip = tape.op(shape, skipped, in_place=True)
        result = tape.op(shape, tape.view(scanned), skip, in_place=True)
        result = tape.op(shape, tape.op(shape, tape.view(gate_source)), result)
        if "ssm_norm.weight" in layer.tensors:
            result = graph.norm(tape.view(result), shape)
        return graph.project(result, layer, "ssm_out.weight")

    def _delta_net(self, layer: Layer, normed: Node) -> Node:
        tape, graph, tokens, inner = self.tape, self.graph, self.tokens, self.shape.ssm_inner_size
        heads, keys = self.shape.ssm_time_step_rank, self.shape.ssm_group_count * self.shape.ssm_state_size
        channels = inner + 2 * keys
        tape.expand(normed)
        mixed = graph.project(normed, layer, "attn_qkv.weight")
        gate = graph.project(normed, layer, "attn_gate.weight")
        convolved = graph.norm(self._convolve(mixed, channels))
        state = tape.view(self._state(self.shape.recurrent.state))
        query = graph.norm(tape.view(convolved), (keys, tokens))
        key = graph.norm(tape.view(convolved), (keys, tokens))
        decay, strength = tape.op((heads, tokens), normed), tape.op((heads, tokens), normed)
        elements = inner * tokens + self.shape.recurrent.state * self.slots
        result = tape.op((elements,), query, key, tape.view(convolved), decay, strength, state)
        tape.expand(tape.store(tape.view(result)))
        output = graph.norm(tape.view(result), (inner, tokens))
        output = tape.op((inner, tokens), output, tape.op((inner, tokens), tape.view(gate), in_place=True), in_place=True)
        return tape.view(graph.project(output, layer, "ssm_out.weight"))
