"""An agent's side of the conversation: proofs both ways, samples without gaps or doubles, and clocks that lie."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from models_app.agent.backlog import MOST_SAMPLES
from models_app.agent.codec import Malformed
from models_app.agent.credentials import Credentials
from models_app.agent.messages import Challenge, Committed, Hello, Samples, Welcome, pack
from models_app.agent.outbox import WINDOW
from models_app.agent.proofs import Token, nonce
from models_app.agent.session import AgentSession, Identity, PanelRefused, State
from models_app.probes.types import GpuDetail, GpuSample, HostSample
from tests.agent.panel import NOON, ManualClock, ScriptedPanel

CREDENTIALS = Credentials("a" * 32, b"s" * 32)
GPUS = tuple(GpuSample(f"GPU-{index}", index, "NVIDIA H100 80GB HBM3", total_bytes=80 * 2**30) for index in range(8))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def panel(clock: ManualClock) -> ScriptedPanel:
    return ScriptedPanel(CREDENTIALS, clock)


@pytest.fixture
def session(clock: ManualClock) -> AgentSession:
    return AgentSession(CREDENTIALS, Identity("boot-1"), clock)


def live(session: AgentSession, clock: ManualClock, seconds: int) -> None:
    """Take a sample every second."""
    for _ in range(seconds):
        clock.advance(1)
        session.add(HostSample("", 0, clock.now(), GPUS))


def test_details_are_told_at_first_every_ten_seconds_and_when_something_changes(
    session: AgentSession, panel: ScriptedPanel, clock: ManualClock
) -> None:
    def details(*clocks: int, holds: tuple[str, ...] = ()) -> list[bool]:
        before = len(panel.stored)
        for mhz in clocks:
            clock.advance(1)
            told = GpuDetail(graphics_clock_mhz=mhz, clock_holds=holds)
            session.add(HostSample("", 0, clock.now(), (replace(GPUS[0], detail=told),)))
        panel.listen(session)
        return [sample.gpus[0].detail is not None for sample in panel.stored[before:]]

    panel.connect(session)
    assert details(*range(11)) == [True, *[False] * 9, True]
    assert details(7, holds=("thermal",)) == [True]
    session.end()
    panel.connect(session)
    assert details(7, holds=("thermal",)) == [True]


def test_samples_are_gathered_for_as_long_as_the_panel_says(
    session: AgentSession, panel: ScriptedPanel, clock: ManualClock
) -> None:
    def said(seconds: int) -> list[int]:
        messages = []
        for _ in range(seconds):
            live(session, clock, 1)
            messages += panel.listen(session)
        return [len(message.items) for message in messages if isinstance(message, Samples)]

    panel.connect(session)
    assert said(2) == [1, 1]
    panel.commit(session, gather_seconds=1.0)
    assert said(6) == [2, 2, 2]
    panel.commit(session)
    assert said(2) == [1, 1]


def sequences(panel: ScriptedPanel) -> list[int]:
    return [sample.sequence for sample in panel.stored]


def test_both_ends_prove_that_they_know_the_secret(session: AgentSession, panel: ScriptedPanel) -> None:
    panel.connect(session)
    assert (session.state, session.host) == (State.OPEN, "gpu-1")


def test_a_panel_that_does_not_know_the_secret_is_left(session: AgentSession, clock: ManualClock) -> None:
    impostor = ScriptedPanel(CREDENTIALS, clock)
    session.begin()
    session.receive(pack(Challenge(nonce(), impostor.time)))
    session.outgoing()
    with pytest.raises(PanelRefused):
        session.receive(pack(Welcome("gpu-1", "0" * 64, 0, impostor.time)))
    assert session.state is not State.OPEN


def test_the_secret_is_in_no_message(session: AgentSession, panel: ScriptedPanel) -> None:
    session.begin()
    session.receive(pack(Challenge(nonce(), panel.time)))
    said = "".join(session.outgoing())
    assert CREDENTIALS.secret.hex() not in said
    assert CREDENTIALS.secret.decode() not in said


def test_nothing_is_said_before_the_welcome(session: AgentSession, clock: ManualClock, panel: ScriptedPanel) -> None:
    live(session, clock, 5)
    session.begin()
    assert session.outgoing() == []
    session.receive(pack(Challenge(nonce(), panel.time)))
    assert len(session.outgoing()) == 1


def test_another_version_is_refused(session: AgentSession, panel: ScriptedPanel) -> None:
    session.begin()
    with pytest.raises(Malformed, match="version"):
        session.receive(pack(Challenge(nonce(), panel.time, version=99)))


def test_a_word_out_of_turn_is_refused(session: AgentSession, panel: ScriptedPanel) -> None:
    session.begin()
    with pytest.raises(Malformed):
        session.receive(pack(Committed(1, panel.time)))


def test_a_token_becomes_a_secret_that_both_made_and_none_sent(clock: ManualClock) -> None:
    mine = Credentials.from_token(Token("b" * 32, b"k" * 32))
    kept: list[Credentials] = []
    session = AgentSession(mine, Identity("boot-1"), clock, on_enrolled=kept.append)
    ScriptedPanel(mine, clock).connect(session)
    assert session.state is State.OPEN
    assert kept == [mine.confirmed()]
    assert kept[0].token_key is None


def test_samples_go_out_as_they_come_and_are_forgotten_once_stored(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    panel.connect(session)
    live(session, clock, 3)
    panel.listen(session)
    assert sequences(panel) == [1, 2, 3]
    assert len(session.outbox.backlog) == 3
    panel.commit(session)
    assert len(session.outbox.backlog) == 0


def test_ten_minutes_without_the_panel_come_late_without_gap_or_double(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    panel.connect(session)
    live(session, clock, 5)
    panel.listen(session)
    panel.commit(session)
    session.end()
    live(session, clock, 600)
    panel.connect(session)
    while sequences(panel)[-1] < 605:
        panel.commit(session)
        panel.listen(session)
    assert sequences(panel) == list(range(1, 606))
    times = [sample.taken_at for sample in panel.stored]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(seconds=1)}


def test_what_was_sent_but_not_stored_is_sent_again_and_is_the_same(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    panel.connect(session)
    live(session, clock, 4)
    panel.listen(session)
    first = list(panel.stored)
    session.end()
    clock.advance(30)
    panel.stored.clear()
    panel.connect(session)
    assert panel.stored == first


def test_what_the_panel_stored_without_saying_so_is_not_sent_again(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    panel.connect(session)
    live(session, clock, 4)
    panel.listen(session)
    session.end()
    panel.committed = 3
    panel.stored.clear()
    panel.connect(session)
    assert sequences(panel) == [4]


def test_samples_from_before_the_first_contact_get_the_panels_time(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    clock.wall = NOON + timedelta(days=400)
    live(session, clock, 3)
    panel.connect(session)
    assert [sample.taken_at for sample in panel.stored] == [NOON + timedelta(seconds=second) for second in (1, 2, 3)]


@pytest.mark.parametrize("jump", [timedelta(hours=-3), timedelta(days=3000), timedelta(seconds=7)])
def test_a_wall_clock_that_jumps_moves_no_sample(
    jump: timedelta, session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    panel.connect(session)
    live(session, clock, 2)
    clock.wall += jump
    live(session, clock, 2)
    panel.listen(session)
    assert [sample.taken_at for sample in panel.stored] == [NOON + timedelta(seconds=second) for second in (1, 2, 3, 4)]


def test_the_wall_clock_is_told_so_that_the_panel_can_tell_of_it(session: AgentSession, clock: ManualClock) -> None:
    clock.wall = NOON + timedelta(minutes=7)
    session.begin()
    session.receive(pack(Challenge(nonce(), NOON)))
    hello = next(text for text in session.outgoing())
    assert '"time":"2026-11-21T12:07:00+00:00"' in hello


def test_beyond_its_bound_the_oldest_are_lost_and_counted(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    live(session, clock, MOST_SAMPLES + 25)
    assert (len(session.outbox.backlog), session.outbox.backlog.lost) == (MOST_SAMPLES, 25)
    panel.connect(session)
    assert sequences(panel)[0] == 26


def test_no_more_is_on_its_way_than_the_window_allows(
    session: AgentSession, clock: ManualClock, panel: ScriptedPanel
) -> None:
    panel.connect(session)
    for _ in range(WINDOW + 20):
        live(session, clock, 1)
        panel.listen(session)
    assert len(panel.stored) == WINDOW
    panel.commit(session)
    panel.listen(session)
    assert sequences(panel) == list(range(1, WINDOW + 21))


def test_a_new_process_begins_a_sequence_of_its_own(clock: ManualClock, panel: ScriptedPanel) -> None:
    panel.committed = 0
    restarted = AgentSession(CREDENTIALS, Identity("boot-2"), clock)
    live(restarted, clock, 2)
    said = panel.connect(restarted)
    assert [sample.boot_id for message in said if isinstance(message, Samples) for sample in message.items] == [
        "boot-2"
    ] * 2


def test_two_connections_never_use_the_same_numbers(session: AgentSession, panel: ScriptedPanel) -> None:
    proofs = set()
    for _ in range(3):
        session.begin()
        session.receive(pack(Challenge("0" * 64, panel.time)))
        proofs.add(next(iter(session.outgoing())))
    assert len(proofs) == 3
    assert Hello.__name__ in next(iter(proofs))


@pytest.mark.parametrize("words", range(6))
def test_an_agent_that_is_killed_after_any_word_loses_its_own_seconds_and_nothing_of_its_successor(
    words: int, panel: ScriptedPanel, clock: ManualClock
) -> None:
    def conversation(session: AgentSession) -> Iterator[None]:
        session.add(HostSample("", 0, clock.now(), GPUS))
        yield
        panel.connect(session)
        yield
        for _ in range(2):
            live(session, clock, 3)
            panel.listen(session)
            yield
            panel.commit(session)
            yield

    killed = AgentSession(CREDENTIALS, Identity("boot-1"), clock)
    for _ in itertools.islice(conversation(killed), words + 1):
        pass
    panel.committed = 0
    heir = AgentSession(CREDENTIALS, Identity("boot-2"), clock)
    panel.connect(heir)
    live(heir, clock, 5)
    panel.listen(heir)
    identities = [(sample.boot_id, sample.sequence) for sample in panel.stored]
    assert len(identities) == len(set(identities))
    assert [sequence for boot, sequence in identities if boot == "boot-2"] == [1, 2, 3, 4, 5]
