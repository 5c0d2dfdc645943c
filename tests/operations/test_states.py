"""The table of transitions is the docstring, and every change is guarded."""

from __future__ import annotations

import pytest
from django.utils import timezone

from models_app.operations import states
from models_app.operations.models import Operation, OperationTarget
from models_app.operations.states import TRANSITIONS, State, renew_lease, take_lease, transition
from tests.factories import OperationFactory

pytestmark = pytest.mark.django_db


def expire(operation: Operation) -> None:
    Operation.objects.filter(pk=operation.pk).update(lease_expires_at=timezone.now() - states.LEASE_DURATION)


def test_the_docstring_lists_exactly_the_legal_transitions() -> None:
    values = {state.value for state in State}
    rows = [line.split()[:2] for line in (states.__doc__ or "").splitlines()]
    listed = {tuple(row) for row in rows if len(row) == 2 and set(row) <= values}
    assert listed == {(old.value, new.value) for old, new in TRANSITIONS}


@pytest.mark.parametrize("old", list(State))
@pytest.mark.parametrize("new", list(State))
def test_only_listed_transitions_are_possible(old: State, new: State) -> None:
    operation = OperationFactory(state=old, lease_token="" if old is State.QUEUED else "mine")
    if (old, new) in TRANSITIONS:
        assert transition(operation.pk, old, new, operation.lease_token)
    else:
        with pytest.raises(states.IllegalTransition):
            transition(operation.pk, old, new, operation.lease_token)


def test_a_transition_under_another_lease_does_nothing() -> None:
    operation = OperationFactory(state=State.RUNNING, lease_token="theirs")
    assert not transition(operation.pk, State.RUNNING, State.SUCCEEDED, "mine")
    operation.refresh_from_db()
    assert operation.state == State.RUNNING


def test_an_end_lets_go_of_the_targets_and_the_lease() -> None:
    operation = OperationFactory(state=State.RUNNING, lease_token="mine")
    OperationTarget.objects.create(operation=operation, endpoint=operation.endpoint, model_name="m")
    assert transition(operation.pk, State.RUNNING, State.FAILED, "mine")
    operation.refresh_from_db()
    assert (operation.lease_token, operation.lease_expires_at) == ("", None)
    assert operation.finished_at is not None
    assert not operation.targets.filter(active=True).exists()


def test_a_lease_is_taken_once() -> None:
    operation = OperationFactory()
    taken = take_lease(operation.pk)
    assert taken
    assert take_lease(operation.pk) is None
    assert renew_lease(operation.pk, taken.lease_token)
    assert not renew_lease(operation.pk, "another")


def test_an_expired_lease_is_taken_over() -> None:
    operation = OperationFactory()
    first = take_lease(operation.pk)
    expire(operation)
    second = take_lease(operation.pk)
    assert first
    assert second
    assert second.lease_token != first.lease_token
    operation.refresh_from_db()
    assert operation.attempt == 2


def test_without_any_worker_a_lease_is_taken_over_before_its_time() -> None:
    operation = OperationFactory()
    assert take_lease(operation.pk)
    states.expire_leases()
    assert take_lease(operation.pk)


def test_what_runs_behind_an_agent_waits_for_it_to_come_back() -> None:
    operation = OperationFactory(endpoint__url="agent://1/ollama")
    assert take_lease(operation.pk)
    states.expire_leases()
    assert take_lease(operation.pk) is None


def test_an_operation_that_is_not_due_is_not_taken() -> None:
    operation = OperationFactory(due_at=timezone.now() + states.LEASE_DURATION)
    assert take_lease(operation.pk) is None
