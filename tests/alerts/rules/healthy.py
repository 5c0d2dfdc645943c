"""A healthy fleet in values, and what can be different in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from models_app.alerts.rules.catalogue import RULE_BY_NAME
from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Reading
from models_app.alerts.rules.fleet import EndpointFacts, GpuFacts, HostFacts, ModelFacts
from models_app.alerts.rules.hysteresis import Track, follow
from models_app.alerts.rules.past import Past
from models_app.probes.types import GpuState, PoolKind, RamSample

GIB = 1024**3
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
UUID = "GPU-1"
MODEL = "llama3.1:8b"


def model(**different: Any) -> ModelFacts:
    healthy = ModelFacts(
        id=1,
        name=MODEL,
        endpoint_id=1,
        state="loaded",
        context_length=16_384,
        gpu_bytes={UUID: 6 * GIB},
        kv_bytes=2 * GIB,
        cpu_bytes=0,
        size_bytes=6 * GIB,
        attributed_by="process",
        expires_at=None,
        kept_forever=False,
        pinned=False,
        loaded_by="",
        can_unload=True,
        can_set_keep_alive=True,
        operation_id=None,
    )
    return replace(healthy, **different)


Filled = tuple[GpuFacts, tuple[ModelFacts, ...]]
"""A GPU with the models on it."""


def gpu(*models: ModelFacts, **different: Any) -> Filled:
    healthy = GpuFacts(
        uuid=UUID,
        index=0,
        name="NVIDIA GeForce RTX 4090",
        pool=PoolKind.VRAM,
        state=GpuState.OK,
        reason="",
        is_measured=True,
        total_bytes=24 * GIB,
        driver_reserved_bytes=0,
        used_bytes=8 * GIB,
        free_bytes=16 * GIB,
        unexplained_bytes=GIB // 4,
        idle_server_bytes=0,
        utilization_percent=40,
        temperature_celsius=60,
    )
    return replace(healthy, **different), models


def endpoint(**different: Any) -> EndpointFacts:
    healthy = EndpointFacts(
        id=1,
        name="atlas-ollama",
        kind="ollama",
        url="http://127.0.0.1:11434",
        version="0.30.4",
        is_online=True,
        state="Online",
        code="",
        message="",
        hint="",
        capabilities=("load", "unload", "keep_alive"),
        load_options=("context_length",),
    )
    return replace(healthy, **different)


def host(*gpus: Filled, endpoints: Iterable[EndpointFacts] = (), **different: Any) -> HostFacts:
    filled = gpus or (gpu(model()),)
    healthy = HostFacts(
        id=1,
        name="atlas",
        gpus=tuple(each for each, _ in filled),
        endpoints=tuple(endpoints) or (endpoint(),),
        models=tuple(each for _, models in filled for each in models),
        sampled_at=NOON,
        is_stale=False,
    )
    return replace(healthy, **different)


def facts(*hosts: HostFacts, after_seconds: float = 0, **different: Any) -> Facts:
    """The fleet so many seconds after noon; hosts that are not said to be stale were sampled just then."""
    at = NOON + timedelta(seconds=after_seconds)
    fresh = tuple(each if each.is_stale else replace(each, sampled_at=at) for each in hosts or (host(),))
    healthy = {"ram": {each.id: RamSample(64 * GIB, 48 * GIB, 8 * GIB, 0) for each in fresh if not each.is_stale}}
    return Facts(at, fresh, **(healthy | different))


def readings(rule: str, now: Facts, past: Past | None = None) -> list[Reading]:
    """What a rule reads by its own limits."""
    known = RULE_BY_NAME[rule]
    return list(known.look(now, past or Past().after(now), known.limits))


class Watch:
    """One rule over time: what it remembers, and which subjects are raised."""

    def __init__(self, rule: str) -> None:
        self.rule = RULE_BY_NAME[rule]
        self.past = Past()
        self.tracks: dict[str, Track] = {}
        self.latest: dict[str, Reading] = {}

    def see(self, now: Facts) -> list[str]:
        """The subjects that are raised after one more snapshot."""
        self.past = self.past.after(now)
        self.latest = {each.subject.key: each for each in self.rule.look(now, self.past, self.rule.limits)}
        followed = {
            key: follow(self.tracks.get(key), each.value, self.rule.limits, now.at) for key, each in self.latest.items()
        }
        self.tracks = {key: track for key, track in followed.items() if track}
        return [key for key, track in self.tracks.items() if track.is_raised]
