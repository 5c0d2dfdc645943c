"""The replayed allocator behaves as ggml's: best fit, reuse in place, holes that merge."""

from models_app.estimator.tape import Node, Tape


def chain(tape: Tape, *sizes: int) -> Node:
    """One operation after the other, of so many bytes each."""
    node = tape.op((sizes[0] // 4,))
    for size in sizes[1:]:
        node = tape.op((size // 4,), node)
    return node


def test_a_chain_needs_two_neighbours_at_a_time() -> None:
    tape = Tape()
    tape.expand(chain(tape, 1024, 2048, 1024, 512))
    # 1024 and 2048 first, then 1024 in the hole of the first one, then 512 in the hole of the second
    assert tape.peak_bytes() == 1024 + 2048


def test_sizes_are_rounded_to_the_alignment() -> None:
    tape = Tape(alignment=128)
    tape.expand(chain(tape, 4))
    assert tape.peak_bytes() == 128


def test_an_operation_in_place_takes_over_its_only_use_of_a_source() -> None:
    tape = Tape()
    source = tape.op((256,))
    tape.expand(tape.op((256,), source, in_place=True))
    assert tape.peak_bytes() == 1024


def test_a_source_that_is_still_needed_is_not_overwritten() -> None:
    tape = Tape()
    source = tape.op((256,))
    changed = tape.op((256,), source, in_place=True)
    tape.expand(tape.op((256,), changed, source))
    assert tape.peak_bytes() == 3 * 1024


def test_another_shape_is_not_overwritten() -> None:
    tape = Tape()
    source = tape.op((256,))
    tape.expand(tape.op((128, 2), source, in_place=True))
    assert tape.peak_bytes() == 2048


def test_a_view_keeps_its_owner_alive() -> None:
    tape = Tape()
    owner = tape.op((256,))
    view = tape.view(owner)
    other = tape.op((256,), owner)
    tape.expand(tape.op((256,), other, view))
    assert tape.peak_bytes() == 3 * 1024


def test_the_best_fitting_hole_is_taken() -> None:
    tape = Tape()
    large, wall, small = tape.op((1024,)), tape.op((32,)), tape.op((256,))
    for node in (large, wall, small):
        tape.expand(node)
    tape.expand(tape.store(large))
    end = tape.op((32,))
    tape.expand(end)
    tape.expand(tape.store(small))
    tape.expand(tape.op((256,), end, wall))
    assert tape.peak_bytes() == 4096 + 128 + 1024


def test_what_arrives_is_there_when_its_part_of_the_graph_begins() -> None:
    tape = Tape()
    first = chain(tape, 4096, 4096)
    tape.expand(tape.op((32,), first, tape.input(256)))
    assert tape.peak_bytes() == 1024 + 2 * 4096


def test_what_arrives_after_a_split_waits_for_it() -> None:
    tape = Tape()
    first = chain(tape, 4096, 4096)
    tape.expand(first)
    tape.end_split()
    tape.expand(tape.op((32,), first, tape.input(256)))
    assert tape.peak_bytes() == 2 * 4096


def test_copies_of_a_pipeline_stay_to_the_end() -> None:
    tape = Tape()
    arrived = tape.input(256, copies=4)
    tape.expand(chain_after(tape, arrived))
    assert tape.peak_bytes() == 4 * 1024 + 2 * 1024


def chain_after(tape: Tape, source: Node) -> Node:
    return tape.op((256,), tape.op((256,), source, in_place=True))
