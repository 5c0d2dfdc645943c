"""Bytes of the compute buffer of each device."""

from __future__ import annotations

from collections.abc import Sequence

from models_app.estimator.attention_graph import Attention
from models_app.estimator.graph import Graph, Plan, steady_layers
from models_app.estimator.recurrent_graph import Recurrence
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node


def graph_bytes(plan: Plan, layers: Sequence[Layer], with_output: bool) -> int:
    """Bytes of the buffer of ``layers`` on one device, whose hidden states arrive from elsewhere."""
    graph = Graph(plan)
    tape = graph.tape
    hidden = tape.input(plan.shape.embedding_length, plan.tokens)
    rows = tape.input(plan.context.output_rows)
    attention = Attention(graph, tape.input(plan.tokens))
    recurrence = Recurrence(graph, tape.input(plan.context.slots))
    for layer in steady_layers(layers):
        picked = rows if with_output and layer is layers[-1] and not graph.picks_after_norm else None
        hidden = _layer(graph, attention, recurrence, layer, hidden, picked)
    if with_output:
        graph.finish(hidden, rows)
    else:
        tape.expand(hidden)
    return tape.peak_bytes()


def _layer(
    graph: Graph, attention: Attention, recurrence: Recurrence, layer: Layer, hidden: Node, rows: Node | None
) -> Node:
    normed = graph.norm(hidden) if "attn_norm.weight" in layer.tensors else hidden
    mixed = _mix(graph, attention, recurrence, layer, hidden, normed)
    if rows is not None:
        mixed, hidden, normed = graph.pick(mixed, rows), graph.pick(hidden, rows), graph.pick(normed, rows)
    return graph.combine(layer, mixed, hidden, normed)


def _mix(graph: Graph, attention: Attention, recurrence: Recurrence, layer: Layer, hidden: Node, normed: Node) -> Node:
    """Attention, recurrence, or both side by side; a layer may have neither (Nemotron-H's feed-forward layers)."""
    if layer.keeps_kv and layer.keeps_state:
        return graph.add(attention.write(layer, normed), recurrence.write(layer, graph.norm(hidden)))
    if layer.keeps_state:
        return recurrence.write(layer, normed)
    if "attn_norm_2.weight" in layer.tensors:
        return attention.write(layer, graph.norm(hidden))
    if "attn_output.weight" in layer.tensors:
        return attention.write(layer, normed)
    return graph.feed_forward(layer, normed)
