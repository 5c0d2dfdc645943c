"""A sample that is begun before it is wanted."""

from __future__ import annotations

import threading

import pytest

from models_app.inventory.models import Host
from models_app.probes.types import HostSample
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import sources
from tests.factories import HostFactory


def test_a_sample_is_taken_beside_what_is_done_meanwhile(host: Host, simulated_host: SimulatedHost) -> None:
    taken, threads = threading.Event(), []

    class Probe:
        def sample(self) -> HostSample:
            threads.append(threading.get_ident())
            taken.set()
            return simulated_host.sample()

        def close(self) -> None:
            """Nothing to release."""

    sources.register(host, Probe())
    measured = sources.begin_sample(host)
    assert taken.wait(30)
    sources.unregister(host)

    assert measured() is not None
    assert len(threads) == 1
    assert threads != [threading.get_ident()]


def test_a_sample_on_whose_way_rows_are_read_is_taken_by_who_wants_it(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(sources, "_find", lambda _host: threads.append(threading.get_ident()))
    measured = sources.begin_sample(HostFactory())
    assert threads == []
    assert measured() is None
    assert threads == [threading.get_ident()]
