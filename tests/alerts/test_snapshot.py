"""From rows to facts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.alerts.snapshot import snapshot
from models_app.operations.measurements import SpeedMeasurement
from models_app.operations.models import OperationStep
from models_app.plans.corrections import EnforcementStop
from models_app.plans.models import Plan
from tests.factories import EndpointFactory, InstallationFactory, LoadedModelFactory, OperationFactory

pytestmark = pytest.mark.django_db


def test_speeds_are_the_runs_on_the_same_endpoint_the_newest_first():
    installed = InstallationFactory()
    for endpoint, speed in ((installed.endpoint, 41.0), (installed.endpoint, 6.5), (EndpointFactory(), 90.0)):
        SpeedMeasurement.objects.create(
            variant=installed.variant, endpoint=endpoint, gpu_share=1, token_count=64, tokens_per_second=speed
        )
    found = snapshot(timezone.now()).speeds
    assert {key: [run.tokens_per_second for run in runs] for key, runs in found.items()} == {
        (installed.endpoint_id, installed.name): [6.5, 41.0]
    }


def test_refusals_are_the_loads_that_found_no_room_lately():
    now = timezone.now()
    OperationFactory(state="failed", error_code="out_of_memory", finished_at=now, model_name="large:70b")
    OperationFactory(state="failed", error_code="load_timed_out", finished_at=now)
    OperationFactory(state="failed", error_code="does_not_fit", finished_at=now - timedelta(hours=1))
    assert [refusal.model for refusal in snapshot(now).refusals] == ["large:70b"]


def test_what_others_take_while_a_load_runs_is_no_progress_of_it():
    for risen_bytes, expected_bytes in ((3000, 1000), (400, 1000), (3000, None)):
        amounts = {"progress_bytes": risen_bytes, "progress_total_bytes": expected_bytes}
        operation = OperationFactory(state="running", **amounts)
        action, state = OperationStep.Action.LOAD, OperationStep.State.RUNNING
        OperationStep.objects.create(operation=operation, position=0, action=action, state=state, model_name="m")
    loads = sorted(snapshot(timezone.now()).loads, key=lambda load: load.operation_id)
    assert [load.risen_bytes for load in loads] == [1000, 400, 3000]


def test_stops_are_those_of_the_active_plan_while_it_is_enforced():
    endpoint = EndpointFactory()
    plans = [Plan.objects.create(state=state, enforce=True) for state in (Plan.State.STALE, Plan.State.APPLIED)]
    for plan in plans:
        EnforcementStop.objects.create(plan=plan, endpoint=endpoint, model_name="m", reason="It drifts.")
    assert [(stop.plan_id, stop.model) for stop in snapshot(timezone.now()).stops] == [(plans[1].pk, "m")]
    Plan.objects.update(enforce=False)
    assert snapshot(timezone.now()).stops == ()


def test_the_number_of_queries_does_not_depend_on_the_fleet(django_assert_max_num_queries):
    for _ in range(5):
        LoadedModelFactory()
    with django_assert_max_num_queries(20):
        snapshot(timezone.now())
