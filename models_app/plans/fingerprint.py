"""Whether the fleet is still the one that a plan was made for: a digest of what matters, and the difference in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from models_app.operations.wording import gib
from models_app.plans.fleet import Fleet, Pool, Server
from models_app.plans.records import Instance

MOVED_SHARE = 0.02
"""By how much of a pool what other programs use may change before the plan no longer fits reality."""


def fingerprint(fleet: Fleet) -> str:
    """The same for fleets of the same pools and servers with the same models loaded in the same way."""
    facts = {
        "pools": sorted([pool.id, pool.kind, pool.total_bytes] for pool in fleet.pools),
        "servers": sorted([server.id, *_abilities(server)] for server in fleet.servers),
        "loaded": sorted(_loaded_key(each) for each in fleet.loaded),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def difference(then: Fleet, now: Fleet) -> list[str]:
    """What has changed since, in sentences; empty where the plan still fits."""
    return [*_places(then, now), *_models(then, now), *_others(then, now)]


def _abilities(server: Server) -> list[Any]:
    return [server.can_load, server.sets, sorted(server.options), sorted(server.gpus)]


def _loaded_key(instance: Instance) -> list[Any]:
    return [instance.endpoint_id, instance.model, instance.context_length or 0, instance.slots or 0, sorted(instance.gpus)]


def _places(then: Fleet, now: Fleet) -> Iterator[str]:
    for pool in then.pools:
        if pool.id not in now.pool:
            yield f"{_named(pool)} is gone."
        elif now.pool[pool.id].total_bytes != pool.total_bytes:
            yield f"{_named(pool)} has {gib(now.pool[pool.id].total_bytes)} now, not {gib(pool.total_bytes)}."
    yield from (f"{_named(pool)} is new." for pool in now.pools if pool.id not in then.pool)
    for server in then.servers:
        found = now.server.get(server.id)
        if found is None:
            yield f"{server.name} is gone or does not answer."
        elif _abilities(found) != _abilities(server):
            yield f"{server.name} sees other GPUs than before, or can do other things."
    yield from (f"{server.name} is new." for server in now.servers if server.id not in then.server)


def _models(then: Fleet, now: Fleet) -> Iterator[str]:
    before = {(each.endpoint_id, each.model): each for each in then.loaded if each.endpoint_id in now.server}
    after = {(each.endpoint_id, each.model): each for each in now.loaded if each.endpoint_id in then.server}
    for key, each in before.items():
        found = after.get(key)
        if found is None and not now.pool.keys() >= set(each.gpus):
            continue  # its GPU is gone, which has been said
        if found is None:
            yield f"{each.model} is no longer loaded on {each.endpoint}."
        elif _loaded_key(found) != _loaded_key(each):
            yield f"{each.model} on {each.endpoint} is loaded in another way than before."
    yield from (f"{each.model} is now loaded on {each.endpoint}." for key, each in after.items() if key not in before)


def _others(then: Fleet, now: Fleet) -> Iterator[str]:
    for pool in then.pools:
        found = now.pool.get(pool.id)
        if found is None or not pool.is_gpu:
            continue
        more = found.others_bytes - pool.others_bytes
        if more > MOVED_SHARE * pool.total_bytes:
            yield f"Other programs use {gib(more)} more of {_named(pool)} than when the plan was made."


def _named(pool: Pool) -> str:
    return f"{pool.label} of {pool.host}"
