"""Who makes way in a swap space, and what is loaded before it is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models_app.solver.hot_swap import Resident, SwapModel, make_room
from models_app.solver.prediction import Predictor


def held(name: str, size: int, used_at: float, loaded_at: float = 0.0, busy: bool = False, **more: int) -> Resident:
    return Resident(SwapModel(name, size, **more), loaded_at, used_at, busy)  # type: ignore[arg-type]


def test_the_least_recently_used_goes_and_only_when_there_is_need() -> None:
    residents = [held("a", 40, 200.0), held("b", 40, 100.0)]
    assert make_room(SwapModel("c", 20), residents, 100, 300.0).evict == ()
    assert make_room(SwapModel("c", 30), residents, 100, 300.0).evict == ("b",)


def test_a_lower_priority_goes_first_and_a_pinned_or_busy_model_never() -> None:
    residents = [held("old", 40, 1.0, priority=1), held("new", 40, 99.0, priority=5)]
    assert make_room(SwapModel("c", 30), residents, 100, 300.0).evict == ("new",)
    fixed = [held("pinned", 60, 1.0, pinned=True), held("busy", 30, 1.0, busy=True)]
    swap = make_room(SwapModel("c", 30), fixed, 100, 300.0)
    assert not swap.possible
    assert "90 are held" in swap.reason


def test_a_model_just_loaded_is_spared_while_another_can_go() -> None:
    residents = [held("young", 40, 280.0, loaded_at=280.0, priority=5), held("old", 40, 290.0)]
    assert make_room(SwapModel("c", 30), residents, 100, 300.0).evict == ("old",)
    swap = make_room(SwapModel("c", 90), residents, 100, 300.0)
    assert swap.young == ("young",)


def test_nothing_is_evicted_that_a_later_eviction_made_needless() -> None:
    residents = [held("small", 10, 1.0), held("large", 80, 2.0)]
    assert make_room(SwapModel("c", 60), residents, 100, 300.0).evict == ("large",)


def test_what_is_there_already_needs_no_room() -> None:
    assert make_room(SwapModel("a", 40), [held("a", 40, 1.0)], 40, 300.0).evict == ()


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5), st.booleans(), st.booleans()), max_size=8),
    st.integers(1, 120),
)
def test_the_room_is_enough_and_keeps_every_promise(drawn: list[tuple[int, int, bool, bool]], size: int) -> None:
    residents = [
        Resident(SwapModel(f"m{at}", held_bytes, priority, pinned), 0.0, float(at), busy)
        for at, (held_bytes, priority, pinned, busy) in enumerate(drawn)
    ]
    space = sum(it.model.bytes for it in residents) + 5
    swap = make_room(SwapModel("wanted", size), residents, space, 100.0)
    left = [it for it in residents if it.model.name not in swap.evict]
    assert all(it in left for it in residents if it.model.pinned or it.busy)
    assert (sum(it.model.bytes for it in left) + size <= space) == swap.possible


def test_the_usual_successor_is_predicted_and_a_rare_one_is_not() -> None:
    predictor = Predictor()
    for at, model in enumerate(["a", "b", "a", "b", "a", "c", "a", "b", "a"]):
        predictor.observe(model, float(at))
    found = predictor.next(9.0)
    assert found is not None
    assert (found.model, round(found.confidence, 2)) == ("b", 0.75)
    assert predictor.next(9.0, confidence=0.9) is None


def test_what_was_usual_fades() -> None:
    predictor = Predictor(half_life_seconds=10.0)
    for at, model in enumerate(["a", "b"] * 5):
        predictor.observe(model, float(at))
    for at, model in enumerate(["a", "c"] * 3):
        predictor.observe(model, 100.0 + at)
    predictor.observe("a", 106.0)
    found = predictor.next(106.0)
    assert found is not None
    assert found.model == "c"


def test_a_single_sighting_is_no_ground_to_load_anything() -> None:
    predictor = Predictor()
    for at, model in enumerate(["a", "b", "a"]):
        predictor.observe(model, float(at))
    assert predictor.next(3.0) is None
