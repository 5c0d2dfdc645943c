"""Values go over the wire and come back the same; what does not fit its annotation is refused, whatever it is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.agent import codec
from models_app.agent.codec import Malformed
from models_app.agent.messages import Ask, Challenge, Done, Hello, Samples, Welcome, batch, pack, unpack
from models_app.backends.protocol import BackendKind, Capability, EndpointInfo, HeaderAnswer, ModelShape
from models_app.gguf.header import GgufHeader, TensorInfo
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME
from models_app.probes.types import GpuProcess, GpuSample, GpuState, HostSample, RamSample, ServerProcesses, Worker
from models_app.simulation.devices import GIB

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GPU = GpuSample("GPU-1", 0, "NVIDIA H100", total_bytes=80 * GIB, processes=(GpuProcess(7, GIB, "ollama"),))
SAMPLE = HostSample(
    "boot", 3, NOON, (GPU, replace(GPU, uuid="GPU-2", state=GpuState.LOST, processes=None)), RamSample(64 * GIB, GIB)
)
EVERYTHING = replace(SAMPLE, servers=(ServerProcesses("ollama", 7, (Worker(8, "tiny", 100, 200),)),), nvml_problem="Ärger")

PLACES: dict[str, tuple[str | int, ...]] = {
    "a number as a text": ("sequence",),
    "a time": ("taken_at",),
    "a list": ("gpus",),
    "an enumeration": ("gpus", 1, "state"),
    "a pid": ("gpus", 0, "processes", 0, "pid"),
    "a name": ("gpus", 0, "name"),
}
WRONG: list[Any] = [True, 1.5, "\x00", "\ud800", [], {}, 2**63, -(2**70), "no such thing", [[]], {"a": 1}]


def damaged(place: tuple[str | int, ...], value: Any) -> Any:
    """The encoded sample with something else at a place."""
    whole = json.loads(codec.dumps(codec.encode(EVERYTHING)))
    part = whole
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return whole


def test_a_sample_comes_back_the_same() -> None:
    back = codec.made(HostSample, codec.loads(codec.dumps(codec.encode(EVERYTHING))))
    assert back == EVERYTHING
    assert back.servers[0].workers[0].ram_bytes == 200, "which workers are not told apart by"


def test_what_has_its_default_is_not_sent() -> None:
    assert "reason" not in codec.encode(GPU)


def test_unknown_keys_are_ignored_so_that_versions_understand_each_other() -> None:
    newer = codec.encode(SAMPLE) | {"invented_later": [1, 2]}
    assert codec.made(HostSample, newer) == SAMPLE


def test_what_is_needed_is_missed() -> None:
    for name in ("boot_id", "sequence", "taken_at"):
        lacking = {key: value for key, value in codec.encode(SAMPLE).items() if key != name}
        with pytest.raises(Malformed):
            codec.made(HostSample, lacking)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_wrong_type_is_refused_wherever_it_is(place: tuple[str | int, ...]) -> None:
    right = codec.encode(EVERYTHING)
    for value in WRONG:
        whole = damaged(place, value)
        if whole == right or (place == ("gpus",) and value == []) or (place[-1] == "name" and value == "no such thing"):
            continue
        with pytest.raises(Malformed):
            codec.made(HostSample, whole)


@pytest.mark.parametrize("text", ["", "{", "NaN", "[1e999]", "[" * 100_000, '{"a": Infinity}', "1" * 5000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        codec.decode(list[float], codec.loads(text))


def test_a_number_beyond_every_number_has_no_place_in_a_free_answer() -> None:
    with pytest.raises(Malformed):
        unpack('["Done", {"id": 1, "answer": {"size": 1e999}}]', Done)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_value_does_anything_but_decode_or_be_refused(value: Any) -> None:
    for kind in (HostSample, Hello, Ask, Done, EndpointInfo, HeaderAnswer):
        try:
            codec.decode(kind, value)
        except Malformed:
            continue


def test_a_time_is_taken_to_utc_and_needs_its_zone() -> None:
    shifted = NOON.astimezone(timezone(timedelta(hours=5)))
    assert codec.made(Challenge, {"nonce": "n", "time": shifted.isoformat()}).time == NOON
    with pytest.raises(Malformed):
        codec.made(Challenge, {"nonce": "n", "time": "2026-11-21T12:00:00"})


def test_sets_and_enumerations_come_back() -> None:
    info = EndpointInfo(BackendKind.OLLAMA, "ollama", "0.33", frozenset({Capability.LOAD}), frozenset({"gpu", "batch"}))
    assert codec.made(EndpointInfo, codec.loads(codec.dumps(codec.encode(info)))) == info


def test_a_header_comes_back_without_its_texts() -> None:
    tensors = (TensorInfo("token_embd.weight", (64, 128), TENSOR_TYPES_BY_NAME["Q4_K"]),)
    metadata = {"general.architecture": "llama", "llama.block_count": 2, "llama.note": "a text", "llama.per_layer": (1, 2)}
    answer = HeaderAnswer(GgufHeader(3, metadata, tensors), ModelShape("llama"))
    found = codec.made(HeaderAnswer, codec.loads(codec.dumps(codec.encode(answer)))).header
    assert found is not None
    assert (found.architecture, found.tensors) == ("llama", tensors)
    assert found.metadata["llama.per_layer"] == (1, 2)
    assert "llama.note" not in found.metadata


def test_a_message_has_to_be_one_that_is_expected() -> None:
    text = pack(Ask(1, "observe", "ollama"))
    assert unpack(text, Ask) == Ask(1, "observe", "ollama")
    for kinds in ((Hello,), ()):
        with pytest.raises(Malformed, match="not expected"):
            unpack(text, *kinds)


@pytest.mark.parametrize("text", ["[]", '["Ask"]', '["Ask", []]', '{"Ask": {}}', '["Ask", {}, 1]', "null", "[1, {}]"])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        unpack(text, Ask)


def test_bytes_and_too_large_messages_are_refused_before_they_are_read() -> None:
    with pytest.raises(Malformed, match="texts"):
        unpack(b'["Ask", {}]', Ask)
    with pytest.raises(Malformed, match="at most"):
        unpack(pack(Ask(1, "x")) + " " * 70_000, Ask)
    with pytest.raises(Malformed, match="too large"):
        pack(Ask(1, "x", arguments={"name": "ä" * 40_000}))


def test_samples_that_are_encoded_already_make_one_message() -> None:
    texts = [codec.dumps(codec.encode(replace(SAMPLE, sequence=number))) for number in (1, 2)]
    assert [sample.sequence for sample in unpack(batch(texts), Samples).items] == [1, 2]


def test_a_welcome_of_another_panel_still_reads() -> None:
    welcome = Welcome("gpu-1", "proof", 7, NOON)
    assert unpack(pack(welcome), Welcome) == welcome
