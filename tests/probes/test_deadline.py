"""A bounded call: its thread serves again, and one that hangs holds up nobody else."""

import threading

import pytest

from models_app.probes.deadline import BoundedCall

LONG_SECONDS = 30.0


def answered(call: BoundedCall[int]) -> int:
    call.begin()
    return call.result()


def test_calls_that_follow_each_other_share_a_thread() -> None:
    first = BoundedCall(threading.get_ident, "first", LONG_SECONDS)
    second = BoundedCall(threading.get_ident, "second", LONG_SECONDS)

    assert {answered(call) for call in (first, second, first, second)} == {answered(first)}


def test_what_the_call_raised_is_raised_and_its_thread_goes_on() -> None:
    failing = BoundedCall(lambda: 1 // 0, "failing", LONG_SECONDS)

    with pytest.raises(ZeroDivisionError):
        answered(failing)
    assert answered(BoundedCall(lambda: 7, "next", LONG_SECONDS)) == 7


def test_a_call_that_hangs_keeps_its_thread_and_is_not_begun_again() -> None:
    inside, release = threading.Event(), threading.Event()
    begun: list[int] = []

    def hang() -> int:
        begun.append(threading.get_ident())
        inside.set()
        release.wait(LONG_SECONDS)
        return 1

    stuck = BoundedCall(hang, "stuck", 0.0)
    with pytest.raises(TimeoutError):
        answered(stuck)
    assert inside.wait(LONG_SECONDS)
    assert answered(BoundedCall(threading.get_ident, "beside it", LONG_SECONDS)) not in begun
    with pytest.raises(TimeoutError):
        answered(stuck)
    assert stuck.is_running

    release.set()
    assert len(begun) == 1
