"""From the rows and the newest samples to the facts that rules judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from models_app.accounts.models import AuditEntry
from models_app.alerts.fleet_facts import host_facts
from models_app.alerts.rules.facts import AbsentGpu, Facts, Knock, ModelKey, Refusal, RunningLoad, Speed, Stop
from models_app.catalog.models import Installation
from models_app.inventory.models import Endpoint, Gpu
from models_app.operations.measurements import SpeedMeasurement
from models_app.operations.models import Operation, OperationStep
from models_app.operations.submission import REFUSED
from models_app.plans.applying import active_plan
from models_app.plans.corrections import EnforcementStop
from models_app.plans.enforcing import MOST_CORRECTIONS
from models_app.probes.types import RamSample
from models_app.telemetry.latest import Latest, latest_by_host

REFUSED_WITHIN = timedelta(minutes=30)
MEASURED_WITHIN = timedelta(days=90)
MOST_SPEEDS = 2000
"""Of all models; each is 64 tokens that somebody had written."""
SPEED_COLUMNS = ("at", "tokens_per_second", "context_length", "gpu_share")
NO_ROOM = ("does_not_fit", "out_of_memory")
LOADING = (OperationStep.Action.LOAD, OperationStep.Action.RESTORE)


def snapshot(now: datetime, knocks: Mapping[int, Knock] | None = None) -> Facts:
    """The fleet as it is now, by a number of queries that does not depend on its size."""
    latest = latest_by_host(now=now, with_recent=False)
    hosts, variants = host_facts(latest)
    return Facts(
        at=now,
        hosts=hosts,
        ram=dict(_ram(latest.values())),
        absent_gpus=tuple(_absent(latest)),
        keyed=frozenset(Endpoint.objects.exclude(api_key="").values_list("pk", flat=True)),
        layer_counts={key: variant.layer_count or 0 for key, variant in variants.items()},
        speeds=_speeds(now - MEASURED_WITHIN),
        loads=tuple(_loads()),
        refusals=tuple(_refusals(now - REFUSED_WITHIN)),
        stops=tuple(_stops()),
        knocks=knocks or {},
    )


def _ram(latest: Iterable[Latest]) -> Iterable[tuple[int, RamSample]]:
    return ((each.host_id, each.sample.ram) for each in latest if each.sample.ram and not each.is_stale)


def _absent(latest: Mapping[int, Latest]) -> Iterable[AbsentGpu]:
    fresh = [host_id for host_id, each in latest.items() if not each.is_stale]
    for gpu in Gpu.objects.filter(present=False, host_id__in=fresh).select_related("host"):
        yield AbsentGpu(gpu.uuid, gpu.index, gpu.name, gpu.host_id, gpu.host.name, gpu.state_reason)


def _speeds(since: datetime) -> dict[ModelKey, list[Speed]]:
    """By the names that the measured variants have on their endpoints; the newest first."""
    rows = SpeedMeasurement.objects.filter(endpoint__isnull=False, at__gte=since).order_by("-pk")[:MOST_SPEEDS]
    runs: dict[tuple[int, int], list[Speed]] = {}
    for endpoint_id, variant_id, *run in rows.values_list("endpoint_id", "variant_id", *SPEED_COLUMNS):
        runs.setdefault((endpoint_id or 0, variant_id), []).append(Speed(*run))
    endpoint_ids, variant_ids = {key[0] for key in runs}, {key[1] for key in runs}
    installed = Installation.objects.filter(endpoint__in=endpoint_ids, variant__in=variant_ids)
    named = installed.order_by().values_list("endpoint_id", "variant_id", "name")
    return {
        (endpoint_id, name): runs[endpoint_id, variant_id]
        for endpoint_id, variant_id, name in named
        if (endpoint_id, variant_id) in runs
    }


def _loads() -> Iterable[RunningLoad]:
    """A load rises no further than is expected of it: what comes beyond that is another's on the same GPUs."""
    steps = OperationStep.objects.filter(
        state=OperationStep.State.RUNNING, action__in=LOADING, operation__state=Operation.State.RUNNING
    )
    for step in steps.select_related("operation"):
        asked = step.operation
        expected_bytes = asked.progress_total_bytes
        risen_bytes = min(asked.progress_bytes or 0, expected_bytes or asked.progress_bytes or 0)
        yield RunningLoad(asked.pk, asked.endpoint_id or 0, step.model_name, risen_bytes, expected_bytes)


def _refusals(since: datetime) -> Iterable[Refusal]:
    failed = Operation.objects.filter(error_code__in=NO_ROOM, finished_at__gte=since)
    for operation in failed.exclude(endpoint=None).order_by("pk")[:200]:
        yield Refusal(operation.endpoint_id or 0, operation.model_name, operation.finished_at or since)
    for entry in AuditEntry.objects.filter(action=REFUSED, at__gte=since).order_by("pk")[:200]:
        yield Refusal(entry.object_id or 0, entry.detail.get("model", ""), entry.at)


def _stops() -> Iterable[Stop]:
    """Of the active plan, if it is enforced."""
    plan = active_plan()
    if plan is not None and plan.enforce:
        for row in EnforcementStop.objects.filter(plan=plan):
            yield Stop(plan.pk, row.endpoint_id, row.model_name, row.reason, row.at, MOST_CORRECTIONS)
