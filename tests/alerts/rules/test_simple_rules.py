"""Rules that compare one figure with a limit: each is raised, held and cleared."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models_app.alerts.rules.facts import AbsentGpu
from models_app.alerts.rules.findings import Action, Page, Severity
from models_app.probes.types import GpuState, MemoryPressure, PoolKind, RamSample
from tests.alerts.rules.healthy import GIB, NOON, Watch, endpoint, facts, gpu, host, model, readings

HOST, GPU, ENDPOINT = "host:1", "gpu:GPU-1", "endpoint:1"


def filled(gib: float):
    return host(gpu(model(), used_bytes=int(gib * GIB), free_bytes=int((24 - gib) * GIB)))


def hot(celsius: int):
    return host(gpu(temperature_celsius=celsius))


def lost(state: GpuState):
    return host(gpu(state=state, is_measured=False, reason="Xid 79."))


def answering(is_online: bool):
    return host(endpoints=[endpoint(is_online=is_online, code="" if is_online else "endpoint_timed_out")])


def pressed(percent: float):
    return RamSample(100, 50, pressure=MemoryPressure(percent, 0))


def version(text: str):
    return host(endpoints=[endpoint(version=text)])


def at_address(url: str):
    return host(endpoints=[endpoint(url=url)])


@pytest.mark.parametrize(
    ("rule", "subject", "bad", "between", "good"),
    [
        ("vram_full", GPU, filled(22), filled(21), filled(12)),
        ("gpu_hot", GPU, hot(90), hot(85), hot(70)),
        ("gpu_lost", GPU, lost(GpuState.LOST), lost(GpuState.WEDGED), lost(GpuState.OK)),
        ("endpoint_lost", ENDPOINT, answering(False), answering(False), answering(True)),
        ("endpoint_outdated", ENDPOINT, version("0.1.20"), version("0.16.0"), version("0.17.1")),
        (
            "endpoint_open",
            ENDPOINT,
            at_address("http://10.0.0.5:11434"),
            at_address("http://gpu-1:80"),
            at_address("http://[::1]:80"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_is_raised_held_and_cleared(rule, subject, bad, between, good):
    watch = Watch(rule)
    assert [watch.see(facts(bad, after_seconds=second)) for second in (0, 30, 60, 90)][-1] == [subject]
    assert watch.see(facts(between, after_seconds=200)) == [subject]
    assert [watch.see(facts(good, after_seconds=second)) for second in (300, 360, 420)][-1] == []


@pytest.mark.parametrize(
    ("rule", "bad", "between", "good"),
    [
        ("ram_full", RamSample(100, 5), RamSample(100, 10), RamSample(100, 30)),
        ("memory_pressure", pressed(40), pressed(10), pressed(1)),
        ("swapping", RamSample(100, 50, 10, 8), RamSample(100, 50, 10, 4), RamSample(100, 50, 10, 1)),
    ],
)
def test_memory_of_a_host_is_watched_with_hysteresis(rule, bad, between, good):
    watch = Watch(rule)
    assert [watch.see(facts(after_seconds=second, ram={1: bad})) for second in (0, 60, 120)][-1] == [HOST]
    assert watch.see(facts(after_seconds=300, ram={1: between})) == [HOST]
    assert [watch.see(facts(after_seconds=second, ram={1: good})) for second in (400, 600)][-1] == []


def test_a_host_without_swap_does_not_swap():
    assert [each.value for each in readings("swapping", facts(ram={1: RamSample(100, 50)}))] == [0]


def test_a_silent_host_is_lost_until_it_speaks_again():
    watch = Watch("host_lost")
    silent = host(is_stale=True, sampled_at=NOON)
    assert [watch.see(facts(silent, after_seconds=second)) for second in (20, 35, 56)] == [[], [], [HOST]]
    assert "56 s" in watch.latest[HOST].sentence
    assert watch.see(facts(host(is_stale=True, sampled_at=NOON + timedelta(seconds=45)), after_seconds=60)) == [HOST]
    assert [watch.see(facts(after_seconds=second)) for second in (65, 90)] == [[HOST], []]


def test_after_a_pause_of_the_panel_hosts_have_time_to_come_back():
    watch = Watch("host_lost")
    old = host(is_stale=True, sampled_at=NOON)
    assert [watch.see(facts(old, after_seconds=second)) for second in (3600, 3610)] == [[], []]
    assert watch.see(facts(after_seconds=3615)) == []
    assert watch.tracks == {}


def test_a_host_that_was_never_measured_is_not_lost():
    assert readings("host_lost", facts(host(sampled_at=None, is_stale=True))) == []


@pytest.mark.parametrize("rule", ["vram_full", "gpu_hot"])
def test_old_figures_of_a_silent_host_neither_raise_nor_clear(rule):
    stale = host(gpu(used_bytes=24 * GIB, temperature_celsius=99), is_stale=True, sampled_at=NOON)
    assert [each.value for each in readings(rule, facts(stale))] == [None]


def test_full_vram_proposes_to_unload_the_largest_model_that_may_go():
    small, pinned = model(id=1, name="a", gpu_bytes={"GPU-1": GIB}), model(id=2, name="b", pinned=True)
    large = model(id=3, name="c", gpu_bytes={"GPU-1": 5 * GIB})
    [reading] = readings("vram_full", facts(host(gpu(small, pinned, large, used_bytes=23 * GIB, free_bytes=GIB))))
    assert reading.action.page is Page.OPERATIONS
    assert reading.action.fields == {"kind": "unload", "endpoint": "1", "model": "c"}


def test_shared_memory_is_no_full_vram():
    assert readings("vram_full", facts(host(gpu(pool=PoolKind.UNIFIED, used_bytes=24 * GIB)))) == []


def test_a_gpu_that_has_vanished_is_lost():
    absent = AbsentGpu("GPU-9", 1, "NVIDIA H100", 1, "atlas", "The driver no longer lists this GPU.")
    found = {each.subject.key: each.value for each in readings("gpu_lost", facts(absent_gpus=(absent,)))}
    assert found == {"gpu:GPU-1": 0, "gpu:GPU-9": 1}


def test_an_endpoint_that_was_never_looked_at_is_not_lost():
    new = host(endpoints=[endpoint(is_online=False, state="Not looked at yet")])
    assert [each.value for each in readings("endpoint_lost", facts(new))] == [None]


def test_a_server_that_was_stopped_on_purpose_is_not_lost():
    stopped = host(endpoints=[endpoint(is_online=False, code="server_stopped", message="It is stopped.")])
    assert [each.value for each in readings("endpoint_lost", facts(stopped))] == [0]


def test_a_server_that_may_be_gone_for_good_can_be_removed_from_its_alert():
    gone = endpoint(is_online=False, code="endpoint_refused_connection", hint="Start it.")
    (reading,) = readings("endpoint_lost", facts(host(endpoints=[gone])))
    assert reading.advice == "Start it. If it is gone for good, remove it from the list."
    assert reading.action == Action("Remove it from the list", Page.REMOVE_ENDPOINT, {"endpoint_id": "1"})


@pytest.mark.parametrize(
    ("different", "expected"),
    [
        ({}, Severity.WARNING),
        ({"last_seen_at": NOON - timedelta(minutes=59)}, None),
        ({"discovered": False}, None),
        ({"code": "endpoint_timed_out"}, None),
    ],
    ids=["left", "lately", "entered by hand", "hangs"],
)
def test_a_server_that_was_found_and_has_left_for_an_hour_is_no_outage(different, expected):
    left = {"discovered": True, "last_seen_at": NOON - timedelta(hours=1), "code": "endpoint_refused_connection"}
    (reading,) = readings("endpoint_lost", facts(host(endpoints=[endpoint(is_online=False, **left | different)])))
    assert (reading.value, reading.severity) == (1, expected)
    assert ("its process has ended" in reading.advice) == (expected is not None)


@pytest.mark.parametrize(
    "different",
    [{"code": "endpoint_unauthorized"}, {"code": "endpoint_timed_out", "url": "managed://0123"}],
    ids=["answers", "managed"],
)
def test_a_server_that_answers_or_that_berth_starts_is_not_offered_for_removal(different):
    (reading,) = readings("endpoint_lost", facts(host(endpoints=[endpoint(is_online=False, **different)])))
    assert reading.action is None


@pytest.mark.parametrize("url", ["managed://0123", "agent://3/managed.0123", "agent://3/ollama"])
def test_what_only_its_own_machine_reaches_is_not_open(url):
    assert [each.value for each in readings("endpoint_open", facts(at_address(url)))] == [0]


def test_an_endpoint_with_a_key_is_not_open():
    far = at_address("http://10.0.0.5:11434")
    assert [each.value for each in readings("endpoint_open", facts(far, keyed=frozenset({1})))] == [0]


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("0.16.9", ["CVE-2026-7482"]),
        ("0.1.30", ["CVE-2024-37032", "CVE-2024-45436", "CVE-2026-7482"]),
        ("0.17.1-rc0", []),
        ("dev", []),
    ],
)
def test_a_version_is_held_against_the_known_flaws_with_their_source(text, sources):
    [reading] = readings("endpoint_outdated", facts(version(text)))
    assert reading.value == len(sources)
    assert all(source in reading.sentence for source in sources)


def test_a_llama_servers_build_number_is_not_taken_for_an_old_ollama():
    assert (
        readings("endpoint_outdated", facts(host(endpoints=[endpoint(kind="llama_server", version="b0.0.1")])))[0].value
        == 0
    )
