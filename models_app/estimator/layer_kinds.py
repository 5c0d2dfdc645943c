"""What tells apart the layers whose graphs differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from models_app.estimator.altup_graph import is_sparse
from models_app.estimator.graph import Plan
from models_app.estimator.per_layer_graph import adds_own_embedding
from models_app.estimator.placement import HOST
from models_app.estimator.recurrent_graph import is_delta_net
from models_app.estimator.rope import uses_rope
from models_app.estimator.shape import Layer

Group = Sequence[Layer]
"""A layer, and those behind it that are nothing but a feed-forward network."""


def layer_groups(layers: Sequence[Layer]) -> list[Group]:
    """The layers in groups. A plain feed-forward network is computed after the beginning of what follows it."""
    groups: list[list[Layer]] = []
    for layer in layers:
        if groups and not layer.keeps_state and "attn_output.weight" not in layer.tensors:
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return list(groups)


def group_kinds(plan: Plan, groups: Sequence[Group]) -> list[int]:
    """A number for every group; those of equal number have the same operations on the same devices."""
    numbers: dict[Hashable, int] = {}
    keepers: dict[bool, int] = {}
    kinds = (tuple(_kind(plan, layer, keepers, layer is groups[-1][-1]) for layer in group) for group in groups)
    return [numbers.setdefault(kind, len(numbers)) for kind in kinds]


def _kind(plan: Plan, layer: Layer, keepers: dict[bool, int], is_last: bool) -> Hashable:
    """The kind of one layer. ``keepers`` are the devices of the caches so far, those with windows and the others."""
    placement = plan.placement
    device = placement.layers[layer.index]
    shared = None
    if layer.keeps_kv:
        keepers[layer.is_windowed] = device
    elif not layer.keeps_state:
        shared = keepers.get(layer.is_windowed) if plan.settings.kv_offload else HOST
    # weights in host RAM are copied, unless only few rows are left of the batch: their types matter, and which is last
    fetches = _works_with_host(plan, layer)
    # what a layer alone needs from another GPU is copied long before it, at a time of its own
    copies = shared not in (None, device) or (adds_own_embedding(layer) and device != max(placement.layers[0], 0))
    return (
        layer.stored_make if fetches else layer.make,
        device,
        fetches,
        fetches and is_last,
        shared,
        layer.index if copies and not fetches else None,
        uses_rope(plan.name, layer),
        is_sparse(layer),
    )


def looks_ahead(plan: Plan, groups: Sequence[Group]) -> list[bool]:
    """For every group, whether its operations depend on the group after it.

    Beside what is in host RAM or computed there, operations of one layer may run where those of the next one do; and most
    recurrent layers clear their states before the layer before them is computed.
    """
    if plan.attends_on_host or not plan.settings.kv_offload:
        return [True] * len(groups)
    on_host = [any(_works_with_host(plan, layer) for layer in group) for group in groups]
    early = [group[0].keeps_state and not is_delta_net(group[0]) for group in groups]
    return [
        here or after or is_early
        for here, after, is_early in zip(on_host, [*on_host[1:], False], [*early[1:], False], strict=True)
    ]


def _works_with_host(plan: Plan, layer: Layer) -> bool:
    """Whether weights of the layer are in host RAM."""
    return plan.placement.layers[layer.index] == HOST or layer.index < plan.placement.cpu_moe_layers
