"""Whoever looks at a host sees a sample before its row is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from django.db import transaction

from models_app.telemetry import fresh
from models_app.telemetry.known import Known, Newest
from models_app.telemetry.latest import Latest
from models_app.telemetry.models import LatestSample
from models_app.telemetry.newest import store_newest
from models_app.telemetry.showing import show
from tests.factories import HostFactory
from tests.telemetry.test_writing_many_newest_samples import later, sample

pytestmark = pytest.mark.django_db


class Looking:
    """Keeps what it is told of one host."""

    def __init__(self, host_id: int) -> None:
        self.host_ids = [host_id]
        self.told: list[Latest] = []

    def sampled(self, samples: Sequence[Latest]) -> None:
        self.told += samples

    @property
    def sequences(self) -> list[int]:
        return [newest.sample.sequence for newest in self.told]


@pytest.fixture
def newest() -> Newest:
    """A host's sample that is written."""
    host = HostFactory()
    newest = Newest(host, sample(host.name, 0), {}, [], Known())
    write(newest)
    return newest


@pytest.fixture
def looking(newest: Newest) -> Iterator[Looking]:
    listener = Looking(newest.host.pk)
    fresh.listen(listener)
    yield listener
    fresh.unlisten(listener)


def write(newest: Newest) -> None:
    with transaction.atomic():
        store_newest([newest])


def after(newest: Newest, second: int) -> Newest:
    return later([newest], second)[0]


def test_samples_run_ahead_of_the_row_with_their_points(newest: Newest, looking: Looking) -> None:
    for second in (1, 2):
        show(after(newest, second))
    assert looking.sequences == [2, 3]
    assert [list(newest.recent.values()) for newest in looking.told] == [[[100, 101]], [[100, 101, 102]]]
    assert LatestSample.objects.get().sequence == 1
    assert newest.known.recent == {f"GPU-{newest.host.name}": [100]}


def test_after_a_pause_they_go_on_from_the_row(newest: Newest, looking: Looking) -> None:
    show(after(newest, 1))
    for second in (1, 2):
        write(after(newest, second))
    show(after(newest, 3))
    assert list(looking.told[-1].recent.values()) == [[100, 101, 102, 103]]


def test_a_sample_whose_row_was_written_first_is_shown_all_the_same(newest: Newest, looking: Looking) -> None:
    show(after(newest, 1))
    write(after(newest, 2))
    for _ in range(2):
        show(after(newest, 2))
    assert looking.sequences == [2, 3]
    assert list(looking.told[-1].recent.values()) == [[100, 102]]


def test_what_is_older_than_the_row_is_not_shown(newest: Newest, looking: Looking) -> None:
    write(after(newest, 2))
    show(after(newest, 1))
    assert looking.told == []


def test_an_older_sample_is_not_shown(newest: Newest, looking: Looking) -> None:
    for second in (2, 1, 2):
        show(after(newest, second))
    assert looking.sequences == [3]


def test_a_host_of_which_nothing_is_known_is_shown_by_its_row(looking: Looking, newest: Newest) -> None:
    show(Newest(newest.host, sample(newest.host.name, 5), {}, [], Known()))
    assert looking.told == []


def test_nobody_is_told_of_hosts_that_they_do_not_look_at(looking: Looking) -> None:
    other = HostFactory()
    newest = Newest(other, sample(other.name, 0), {}, [], Known())
    write(newest)
    show(after(newest, 1))
    assert looking.told == []
    assert newest.known.shown is None
