"""The second half of a layer in the compute graph: residuals, norms, the feed-forward network; and the end of the graph.

Which of the usual arrangements a layer follows is read from its norms.
"""

from __future__ import annotations

from models_app.estimator.feed_forward_graph import FeedForward
from models_app.estimator.graph import Graph
from models_app.estimator.shape import Layer
from models_app.estimator.tape import Node

_PICKED_AFTER_NORM = frozenset({"qwen35", "qwen35moe", "qwen3next", "gemma4", "nemotron_h", "nemotron_h_moe"})
_RESIDUAL_AFTER_FFN = frozenset({"command-r", "cohere2", "cohere2moe", "gptneox"})
_RESIDUAL_FIRST = frozenset({"jamba", "lfm2", "lfm2moe"})


class Block:
    """Writes what follows the mixer of a layer, and what follows the last layer."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tape = graph.tape
        self.plan = graph.plan
        self.feed_forward = FeedForward(graph)

    def combine(self, layer: Layer, mixed: Node, residual: Node, normed: Node) -> Node:
        """The second half of a layer: the residual, and the feed-forward network with its own."""
        if self._is_parallel(layer):
            return self._parallel(layer, mixed, residual, normed)
        if "post_attention_norm.weight" in layer.tensors and _has_any(layer, "ffn_norm.weight", "post_ffw_norm.weight"):
            mixed = self.graph.layer_norm(mixed, layer, "post_attention_norm.weight")
        first = (residual, mixed) if self.plan.name in _RESIDUAL_FIRST else (mixed, residual)
        hidden = self.graph.add(*first)
        if "attn_output_norm.weight" in layer.tensors:
            hidden = self.graph.layer_norm(hidden, layer, "attn_output_norm.weight")
        if "attn_norm_2.weight" in layer.tensors and self.plan.is_encoder:
            hidden = self.graph.layer_norm(self.graph.add(hidden, residual), layer, "attn_norm_2.weight")
        if not has_feed_forward(layer):
            return hidden
        output = self.feed_forward.write(layer, self._feed_forward_norm(layer, hidden))
        if "post_ffw_norm.weight" in layer.tensors:
            output = self.graph.layer_norm(output, layer, "post_ffw_norm.weight")
        hidden = self.graph.add(hidden, output) if self.plan.name in _RESIDUAL_FIRST else self.graph.add(output, hidden)
        name = "layer_output_norm.weight"
        return self.graph.layer_norm(hidden, layer, name) if name in layer.tensors else hidden

    def _feed_forward_norm(self, layer: Layer, hidden: Node) -> Node:
        """The norm before the feed-forward network, which some architectures call post-attention norm, and OLMo 2 lacks."""
        for name in ("ffn_norm.weight", "ffn_norm"):
            if name in layer.tensors:
                return self.graph.layer_norm(hidden, layer, name)
        if "post_attention_norm.weight" in layer.tensors and "post_ffw_norm.weight" not in layer.tensors:
            return self.graph.layer_norm(hidden, layer, "post_attention_norm.weight")
        return hidden

    def _parallel(self, layer: Layer, mixed: Node, residual: Node, normed: Node) -> Node:
        output = self.feed_forward.write(
            layer, self._feed_forward_norm(layer, residual) if "ffn_norm.weight" in layer.tensors else normed
        )
        if self.plan.name in _RESIDUAL_AFTER_FFN:
            return self.graph.add(self.graph.add(output, residual), mixed)
        both = (output, mixed) if self.plan.name == "falcon" else (mixed, output)
        return self.graph.add(self.graph.add(*both), residual)

    def _is_parallel(self, layer: Layer) -> bool:
        """Whether attention and feed-forward network see the same input."""
        if self.plan.shape.parallel_residual:
            return True
        norms = ("ffn_norm.weight", "ffn_norm", "post_attention_norm.weight", "attn_output_norm.weight")
        return (
            has_feed_forward(layer)
            and _has_any(layer, "attn_output.weight", "attn_qkv.weight")
            and not _has_any(layer, *norms)
        )

    def finish(self, hidden: Node, rows: Node) -> None:
        """The final norm and the output head."""
        if self.plan.is_encoder:
            self.tape.expand(hidden)
            return
        result = self.graph.norm(hidden)
        if self.picks_after_norm:
            result = self.graph.pick(result, rows)
        tensors = self.plan.shape.other_tensors
        head = tensors.get("output.weight") or tensors.get("token_embd.weight")
        shape = (self.plan.shape.vocabulary_size, result.shape[1])
        device, weight = self.graph.placed(self.plan.placement.output, head, result.shape[1]) if head else (None, ())
        self.tape.expand(self.tape.op(shape, *weight, result, device=device))

    @property
    def picks_after_norm(self) -> bool:
        """Whether every row passes the last layer before the wanted ones are picked."""
        return self.plan.name in _PICKED_AFTER_NORM


def _has_any(layer: Layer, *names: str) -> bool:
    return any(name in layer.tensors for name in names)


def has_feed_forward(layer: Layer) -> bool:
    """Whether the layer has a feed-forward network, dense or of experts."""
    return _has_any(layer, "ffn_down.weight", "ffn_down_exps.weight")
