"""The replayed scheduler and allocator behave as ggml's: what runs where, best fit, reuse in place, holes that merge."""

from models_app.estimator.allocator import peak_bytes
from models_app.estimator.placement import HOST
from models_app.estimator.scheduler import scheduled
from models_app.estimator.tape import Node, Tape

GPU = 0


def chain(tape: Tape, *sizes: int) -> Node:
    """One operation after the other on the GPU, of so many bytes each."""
    node = tape.op((sizes[0] // 4,), device=GPU)
    for size in sizes[1:]:
        node = tape.op((size // 4,), node)
    return node


def gpu_peak(tape: Tape, copies: int = 1) -> int:
    return peak_bytes(tape, gpu_count=1, copies=copies)[GPU]


def test_a_chain_needs_two_neighbours_at_a_time() -> None:
    tape = Tape()
    tape.expand(chain(tape, 1024, 2048, 1024, 512))
    # 1024 and 2048 first, then 1024 in the hole of the first one, then 512 in the hole of the second
    assert gpu_peak(tape) == 1024 + 2048


def test_sizes_are_rounded_to_the_alignment_of_the_device() -> None:
    tape = Tape()
    tape.expand(tape.op((1,), tape.op((1,), device=HOST), device=GPU))
    assert peak_bytes(tape, gpu_count=1) == {HOST: 32, GPU: 2 * 128}


def test_an_operation_in_place_takes_over_its_only_use_of_a_source() -> None:
    tape = Tape()
    source = tape.op((256,), device=GPU)
    tape.expand(tape.op((256,), source, in_place=True))
    assert gpu_peak(tape) == 1024


def test_a_source_that_is_still_needed_is_not_overwritten() -> None:
    tape = Tape()
    source = tape.op((256,), device=GPU)
    changed = tape.op((256,), source, in_place=True)
    tape.expand(tape.op((256,), changed, source))
    assert gpu_peak(tape) == 3 * 1024


def test_another_shape_is_not_overwritten() -> None:
    tape = Tape()
    source = tape.op((256,), device=GPU)
    tape.expand(tape.op((128, 2), source, in_place=True))
    assert gpu_peak(tape) == 2048


def test_a_view_keeps_its_owner_alive() -> None:
    tape = Tape()
    owner = tape.op((256,), device=GPU)
    view = tape.view(owner)
    other = tape.op((256,), owner)
    tape.expand(tape.op((256,), other, view))
    assert gpu_peak(tape) == 3 * 1024


def test_scratch_counts_on_a_gpu_only() -> None:
    tape = Tape()
    tape.expand(tape.op((256,), tape.op((256,), extra=4096, device=HOST), extra=4096, device=GPU))
    assert peak_bytes(tape, gpu_count=1) == {HOST: 1024, GPU: 1024 + 1024 + 4096}


def test_the_best_fitting_hole_is_taken() -> None:
    tape = Tape()
    large, wall, small = (tape.op((length,), device=GPU) for length in (1024, 32, 256))
    for node in (large, wall, small):
        tape.expand(node)
    tape.expand(tape.store(large))
    end = tape.op((32,))
    tape.expand(end)
    tape.expand(tape.store(small))
    tape.expand(tape.op((256,), end, wall))
    assert gpu_peak(tape) == 4096 + 128 + 1024


def test_inputs_are_copied_when_the_part_of_the_graph_begins_that_needs_them() -> None:
    tape = Tape()
    first = chain(tape, 4096, 4096)
    tape.expand(tape.op((32,), first, tape.input(256)))
    assert peak_bytes(tape, gpu_count=1) == {HOST: 1024, GPU: 1024 + 2 * 4096}


def test_every_fetched_weight_begins_a_part_of_its_own() -> None:
    tape = Tape()
    node = tape.op((32,), device=GPU)
    for _ in range(3):
        node = tape.op((32,), tape.outside(4096, HOST, is_weight=True), node, device=GPU)
    tape.expand(node)
    assert gpu_peak(tape) == 4096 + 2 * 128


def test_what_lies_in_host_ram_interrupts_the_gpu() -> None:
    tape = Tape()
    first = chain(tape, 4096, 4096)
    tape.expand(tape.store(first, device=HOST))
    tape.expand(tape.op((32,), first, tape.input(256), device=GPU))
    assert peak_bytes(tape, gpu_count=1) == {HOST: 1024 + 4096, GPU: 2 * 4096}


def test_copies_of_a_pipeline_stay_to_the_end() -> None:
    tape = Tape()
    arrived = tape.input(256)
    tape.expand(tape.op((256,), tape.op((256,), arrived, in_place=True, device=GPU)))
    assert peak_bytes(tape, gpu_count=1, copies=4) == {HOST: 4 * 1024, GPU: 4 * 1024 + 2 * 1024}


def devices(nodes: list[Node]) -> list[int | None]:
    return [node.device for node in scheduled(nodes, gpu_count=2) if node in nodes]


def test_operations_without_weights_follow_the_gpu_before_them() -> None:
    tape = Tape()
    first, second = tape.op((32,), device=0), tape.op((32,))
    tape.expand(tape.op((32,), tape.op((32,), first), second, device=1))
    assert devices(tape.nodes) == [0, 0, 0, 1]


def test_an_operation_between_two_on_the_host_stays_there() -> None:
    tape = Tape()
    tape.expand(tape.op((32,), tape.op((32,), tape.op((32,), device=HOST)), device=HOST))
    assert devices(tape.nodes) == [HOST, HOST, HOST]


def test_an_operation_without_a_kernel_stays_on_the_host() -> None:
    tape = Tape()
    middle = tape.op((32,), tape.op((32,), device=0))
    middle.host_only = True
    tape.expand(tape.op((32,), middle, device=0))
    assert devices(tape.nodes) == [0, HOST, 0]


def test_a_tensor_is_copied_to_a_device_once() -> None:
    tape = Tape()
    shared = tape.input(256)
    tape.expand(tape.op((32,), tape.op((32,), shared, device=1), shared, device=1))
    copies = [node for node in scheduled(tape.nodes, gpu_count=2) if node.is_copy]
    assert [(copy.size, copy.device) for copy in copies] == [(1024, 1)]
