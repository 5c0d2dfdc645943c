"""What tells apart the layers whose graphs differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from models_app.estimator.altup_graph import is_sparse
from models_app.estimator.attention_graph import uses_rope
from models_app.estimator.graph import Plan
from models_app.estimator.placement import HOST
from models_app.estimator.recurrent_graph import is_delta_net
from models_app.estimator.shape import Layer


def layer_kinds(plan: Plan, layers: Sequence[Layer]) -> list[Hashable]:
    """A value for every layer; those of equal value have the same operations on the same devices."""
    placement = plan.placement
    keepers: dict[bool, int] = {}
    kinds: list[Hashable] = []
    for layer in layers:
        device = placement.layers[layer.index]
        shared = None
        if layer.keeps_kv:
            keepers[layer.is_windowed] = device
        elif not layer.keeps_state:
            shared = keepers.get(layer.is_windowed) if plan.settings.kv_offload else HOST
        # weights in host RAM are copied, unless only few rows are left of the batch: their types matter, and which is last
        fetches = _works_with_host(plan, layer)
        kinds.append(
            (
                layer.stored_make if fetches else layer.make,
                device,
                fetches,
                fetches and layer is layers[-1],
                shared,
                uses_rope(plan.name, layer),
                is_sparse(layer),
            )
        )
    return kinds


def looks_ahead(plan: Plan, layers: Sequence[Layer]) -> list[bool]:
    """For every layer, whether its operations depend on the layer after it.

    Beside what is in host RAM, operations of one layer may run where those of the next one do; and most recurrent layers
    clear their states before the layer before them is computed.
    """
    if not plan.settings.kv_offload:
        return [True] * len(layers)
    on_host = [_works_with_host(plan, layer) for layer in layers]
    early = [layer.keeps_state and not is_delta_net(layer) for layer in layers]
    return [
        here or after or is_early
        for here, after, is_early in zip(on_host, [*on_host[1:], False], [*early[1:], False], strict=True)
    ]


def _works_with_host(plan: Plan, layer: Layer) -> bool:
    """Whether weights of the layer are in host RAM."""
    return plan.placement.layers[layer.index] == HOST or layer.index < plan.placement.cpu_moe_layers
