"""Whose bytes they are: the parts add up to what is used, none is negative, and each says how it is known."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuProcess, GpuSample, HostSample
from models_app.telemetry.division import By, Claim, ModelShare, divide

GIB = 1024**3
OLLAMA, OTHER_OLLAMA = 1, 2


def gpu(used_bytes: int, *processes: GpuProcess, uuid: str = "GPU-0", listed: bool = True) -> GpuSample:
    total = 24 * GIB
    return GpuSample(
        uuid, 0, "RTX", total_bytes=total, used_bytes=used_bytes, free_bytes=total - used_bytes,
        processes=processes if listed else None,
    )  # fmt: skip


def sample(*gpus: GpuSample) -> HostSample:
    return HostSample("boot", 1, datetime(2026, 11, 21, tzinfo=UTC), gpus)


def test_a_models_own_process_is_believed_before_any_claim() -> None:
    used = sample(gpu(6 * GIB, GpuProcess(7, 5 * GIB, "llama-server"), GpuProcess(8, GIB, "python3")))
    claim = Claim(1, OLLAMA, frozenset({7}), risen_bytes={"GPU-0": 9 * GIB}, claimed_bytes=GIB)
    share = divide(used, [claim], {OLLAMA: frozenset({7})})["GPU-0"]
    assert share.models == {1: ModelShare(5 * GIB, By.PROCESS)}
    assert (share.others, share.unexplained_bytes, share.coverage) == ({"python3": GIB}, 0, Coverage.FULL)


def test_without_processes_the_measured_rise_is_believed() -> None:
    claim = Claim(1, OLLAMA, risen_bytes={"GPU-0": 5 * GIB}, claimed_bytes=4 * GIB)
    share = divide(sample(gpu(6 * GIB, listed=False)), [claim])["GPU-0"]
    assert share.models == {1: ModelShare(5 * GIB, By.GPU)}
    assert (share.unexplained_bytes, share.coverage) == (GIB, Coverage.UNAVAILABLE)


def test_a_foreign_load_is_known_by_its_endpoints_claim() -> None:
    share = divide(sample(gpu(6 * GIB, listed=False)), [Claim(1, OLLAMA, claimed_bytes=4 * GIB)])["GPU-0"]
    assert share.models == {1: ModelShare(4 * GIB, By.ENDPOINT)}
    assert share.unexplained_bytes == 2 * GIB


def test_a_claim_beyond_what_is_used_is_cut() -> None:
    share = divide(sample(gpu(3 * GIB, listed=False)), [Claim(1, OLLAMA, claimed_bytes=20 * GIB)])["GPU-0"]
    assert (share.models[1].bytes, share.unexplained_bytes) == (3 * GIB, 0)


def test_a_claim_goes_where_there_is_room_for_it() -> None:
    cards = sample(gpu(2 * GIB, uuid="GPU-0", listed=False), gpu(9 * GIB, uuid="GPU-1", listed=False))
    shares = divide(cards, [Claim(1, OLLAMA, claimed_bytes=8 * GIB)])
    assert shares["GPU-0"].models == {}
    assert shares["GPU-1"].models == {1: ModelShare(8 * GIB, By.ENDPOINT)}


def test_a_claim_that_no_card_holds_alone_is_split() -> None:
    cards = sample(gpu(6 * GIB, uuid="GPU-0", listed=False), gpu(6 * GIB, uuid="GPU-1", listed=False))
    shares = divide(cards, [Claim(1, OLLAMA, claimed_bytes=10 * GIB)])
    assert [shares[uuid].models[1].bytes for uuid in ("GPU-0", "GPU-1")] == [5 * GIB, 5 * GIB]


def test_a_model_is_fed_from_the_processes_of_its_own_endpoint() -> None:
    """Two models of one server, whose processes nobody can tell apart."""
    used = sample(gpu(8 * GIB, GpuProcess(7, 3 * GIB), GpuProcess(8, 4 * GIB), GpuProcess(9, GIB, "python3")))
    claims = [Claim(1, OLLAMA, claimed_bytes=3 * GIB), Claim(2, OLLAMA, claimed_bytes=3 * GIB)]
    share = divide(used, claims, {OLLAMA: frozenset({7, 8})})["GPU-0"]
    assert {key: model.bytes for key, model in share.models.items()} == {1: 3 * GIB, 2: 3 * GIB}
    assert (share.others, share.unexplained_bytes) == ({"python3": GIB}, GIB)


def test_no_model_takes_the_bytes_of_another_endpoint_or_program() -> None:
    used = sample(gpu(5 * GIB, GpuProcess(7, 4 * GIB), GpuProcess(9, GIB, "python3")))
    share = divide(used, [Claim(1, OTHER_OLLAMA, claimed_bytes=3 * GIB)], {OLLAMA: frozenset({7})})["GPU-0"]
    assert share.models == {}
    assert (share.others, share.unexplained_bytes) == ({"python3": GIB}, 4 * GIB)


def test_a_model_on_the_cpu_holds_nothing() -> None:
    claims = [Claim(1, OLLAMA, claimed_bytes=0), Claim(2, OLLAMA)]
    share = divide(sample(gpu(GIB, listed=False)), claims)["GPU-0"]
    assert (share.models, share.unexplained_bytes) == ({}, GIB)


def test_a_host_without_gpus_divides_nothing() -> None:
    assert divide(sample(), [Claim(1, OLLAMA, claimed_bytes=GIB)]) == {}


sizes = st.integers(0, 30 * GIB)
processes = st.builds(GpuProcess, st.integers(1, 6), st.none() | sizes, st.sampled_from(["a", "b", ""]))
cards = st.builds(
    lambda used, listed, visible, number: gpu(used, *listed, uuid=f"GPU-{number}", listed=visible),
    st.integers(0, 24 * GIB), st.lists(processes, max_size=5, unique_by=lambda process: process.pid), st.booleans(),
    st.integers(0, 1),
)  # fmt: skip
claims = st.builds(
    Claim, st.integers(1, 9), st.integers(1, 2), st.frozensets(st.integers(1, 6), max_size=2),
    st.dictionaries(st.sampled_from(["GPU-0", "GPU-1", "GPU-gone"]), sizes, max_size=2), st.none() | sizes,
)  # fmt: skip


@given(
    st.lists(cards, max_size=2, unique_by=lambda card: card.uuid),
    st.lists(claims, max_size=4, unique_by=lambda claim: claim.key),
    st.dictionaries(st.integers(1, 2), st.frozensets(st.integers(1, 6), max_size=3), max_size=2),
)
def test_the_parts_always_add_up(gpus: list[GpuSample], given_claims: list[Claim], pids: dict[int, frozenset[int]]) -> None:
    shares = divide(sample(*gpus), given_claims, pids)
    for card in gpus:
        share = shares[card.uuid]
        parts = [model.bytes for model in share.models.values()] + [*share.others.values(), share.unexplained_bytes]
        assert sum(parts) == card.used_bytes
        assert min(parts) >= 0


@pytest.mark.parametrize("used_bytes", [0, 1])
def test_an_empty_gpu_has_no_shares(used_bytes: int) -> None:
    share = divide(sample(gpu(used_bytes)), [Claim(1, OLLAMA)])["GPU-0"]
    assert (share.models, share.others, share.unexplained_bytes) == ({}, {}, used_bytes)
