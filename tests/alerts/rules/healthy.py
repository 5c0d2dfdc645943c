"""A healthy fleet in values, and what can be different in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from models_app.alerts.rules.catalogue import RULE_BY_NAME
from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Reading
from models_app.alerts.rules.hysteresis import Track, follow
from models_app.alerts.rules.past import Past
from models_app.operations.fleet_view import EndpointView, FleetView, GpuView, HostView, ModelView, Sums
from models_app.probes.types import GpuState, PoolKind, RamSample

GIB = 1024**3
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
UUID = "GPU-1"
MODEL = "llama3.1:8b"


def model(**different: Any) -> ModelView:
    healthy = ModelView(
        id=1,
        name=MODEL,
        hue=0,
        endpoint_id=1,
        endpoint_name="atlas-ollama",
        state="loaded",
        quantization="Q4_K_M",
        is_embedding=False,
        context_length=16_384,
        parallel=1,
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
        can_measure_speed=False,
        operation_id=None,
    )
    return replace(healthy, **different)


def gpu(*models: ModelView, **different: Any) -> GpuView:
    healthy = GpuView(
        id=1,
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
        held_bytes=0,
        headroom_bytes=2 * GIB,
        available_bytes=14 * GIB,
        unexplained_bytes=GIB // 4,
        utilization_percent=40,
        temperature_celsius=60,
        power_milliwatts=200_000,
        segments=(),
        recent_bytes=(),
        models=models,
    )
    return replace(healthy, **different)


def endpoint(**different: Any) -> EndpointView:
    healthy = EndpointView(
        id=1,
        name="atlas-ollama",
        kind="ollama",
        mode="ollama",
        url="http://127.0.0.1:11434",
        version="0.30.4",
        is_online=True,
        state="Online",
        code="",
        message="",
        hint="",
        warnings=(),
        last_seen_at=NOON,
        capabilities=("load", "unload", "keep_alive"),
        load_options=("context_length",),
        installed_count=3,
    )
    return replace(healthy, **different)


def host(*gpus: GpuView, endpoints: Iterable[EndpointView] = (), **different: Any) -> HostView:
    healthy = HostView(
        id=1,
        name="atlas",
        is_local=False,
        tags=(),
        gpus=gpus or (gpu(model()),),
        endpoints=tuple(endpoints) or (endpoint(),),
        elsewhere=(),
        ram_total_bytes=64 * GIB,
        ram_used_bytes=16 * GIB,
        ram_segments=(),
        sampled_at=NOON,
        is_stale=False,
        problem="",
    )
    return replace(healthy, **different)


def facts(*hosts: HostView, after_seconds: float = 0, **different: Any) -> Facts:
    """The fleet so many seconds after noon; hosts that are not said to be stale were sampled just then."""
    at = NOON + timedelta(seconds=after_seconds)
    fresh = tuple(each if each.is_stale else replace(each, sampled_at=at) for each in hosts or (host(),))
    view = FleetView(fresh, Sums(len(fresh), 0, 0, 0, 0, 0, 0))
    healthy = {"ram": {each.id: RamSample(64 * GIB, 48 * GIB, 8 * GIB, 0) for each in fresh if not each.is_stale}}
    return Facts(at, view, **(healthy | different))


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
