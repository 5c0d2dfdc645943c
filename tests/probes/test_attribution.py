"""Who holds a GPU's memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models_app.probes.attribution import Coverage, attribute
from models_app.probes.types import GpuProcess, GpuSample

PIDS = st.integers(1, 12)
BYTES = st.integers(0, 2**40)
PROCESSES = st.lists(
    st.builds(GpuProcess, pid=PIDS, used_bytes=st.none() | BYTES, name=st.sampled_from(["", "ollama", "Xorg"]))
)
SAMPLES = st.builds(
    lambda used, processes: sample(used, None if processes is None else tuple(processes)), BYTES, st.none() | PROCESSES
)
OWNERS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.frozensets(PIDS))


def sample(used_bytes: int, processes: tuple[GpuProcess, ...] | None) -> GpuSample:
    return GpuSample("GPU-a", 0, "card", used_bytes=used_bytes, processes=processes)


def test_bytes_go_to_owners_then_to_other_programs_by_name_and_the_rest_is_unexplained() -> None:
    processes = (
        GpuProcess(1, 500, "llama-server"),
        GpuProcess(2, 100, "llama-server"),
        GpuProcess(3, 40, "python"),
        GpuProcess(4, 2, "python"),
        GpuProcess(5, 1),
    )
    result = attribute(sample(700, processes), {"qwen": {1, 2, 99}, "idle": {98}})
    assert result.coverage is Coverage.FULL
    assert result.owner_bytes == {"qwen": 600}
    assert result.other_bytes == {"python": 42, "pid 5": 1}
    assert result.unexplained_bytes == 57


def test_without_a_process_list_nothing_is_attributed() -> None:
    result = attribute(sample(700, None), {"qwen": {1}})
    assert (result.coverage, result.owner_bytes, result.unexplained_bytes) == (Coverage.UNAVAILABLE, {}, 700)


def test_a_list_without_any_bytes_is_no_attribution() -> None:
    result = attribute(sample(700, (GpuProcess(1, None, "llama-server"),)), {"qwen": {1}})
    assert (result.coverage, result.owner_bytes, result.unexplained_bytes) == (Coverage.UNAVAILABLE, {}, 700)


def test_one_process_that_hides_its_bytes_makes_the_attribution_partial() -> None:
    result = attribute(sample(700, (GpuProcess(1, None), GpuProcess(2, 300))), {"qwen": {2}})
    assert (result.coverage, result.owner_bytes, result.unexplained_bytes) == (Coverage.PARTIAL, {"qwen": 300}, 400)


def test_an_idle_gpu_is_fully_covered() -> None:
    result = attribute(sample(0, ()), {})
    assert (result.coverage, result.unexplained_bytes) == (Coverage.FULL, 0)


def test_a_process_of_two_owners_counts_for_the_first() -> None:
    result = attribute(sample(10, (GpuProcess(1, 10),)), {"first": {1}, "second": {1}})
    assert result.owner_bytes == {"first": 10}


def test_claims_above_what_is_used_shrink_in_proportion() -> None:
    result = attribute(sample(100, (GpuProcess(1, 150), GpuProcess(2, 50, "Xorg"))), {"qwen": {1}})
    assert (result.owner_bytes, result.other_bytes, result.unexplained_bytes) == ({"qwen": 75}, {"Xorg": 25}, 0)


@given(SAMPLES, OWNERS)
def test_the_parts_always_sum_to_used_and_none_is_negative(gpu: GpuSample, owners: dict[str, frozenset[int]]) -> None:
    result = attribute(gpu, owners)
    parts = [*result.owner_bytes.values(), *result.other_bytes.values(), result.unexplained_bytes]
    assert sum(parts) == result.used_bytes == gpu.used_bytes
    assert min(parts) >= 0


@given(SAMPLES, OWNERS)
def test_nobody_gets_more_than_its_processes_claim(gpu: GpuSample, owners: dict[str, frozenset[int]]) -> None:
    result = attribute(gpu, owners)
    for owner, part in result.owner_bytes.items():
        assert part <= sum(process.used_bytes or 0 for process in gpu.processes or () if process.pid in owners[owner])
