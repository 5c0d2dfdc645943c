"""Which devices a load is expected to land on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models_app.catalog.headers import encoded
from models_app.estimator.profiles import CURRENT
from models_app.estimator.types import Grade, LoadSettings
from models_app.gguf.ollama_show import header_from_show
from models_app.operations.placing import place
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.ollama_describe import show

GIB = 1024**3


def subject(name: str, context_length: int = 8192) -> Subject:
    model = CATALOGUE[name]
    header = encoded(header_from_show(show(model, verbose=False)))
    return Subject(None, model.file_bytes, LoadSettings(context_length=context_length), CURRENT, header)


def gpu(index: int, free_gib: int) -> Room:
    return Room(f"GPU-{index}", f"GPU {index}", 24 * GIB, free_gib * GIB, 0, 2 * GIB, 0, gpu_name="NVIDIA L4")


def test_the_roomiest_gpu_that_is_enough_takes_all() -> None:
    placing = place(subject("llama3.1:8b"), [gpu(0, 12), gpu(1, 20)])
    assert [room.name for room in placing.chosen] == ["GPU 1"]
    assert (placing.reckoning.grade, placing.shortfall_bytes) == (Grade.HEADER, 0)


def test_what_fits_no_single_gpu_is_divided_by_layers_and_fits_each_with_its_band() -> None:
    placing = place(subject("deepseek-r1:32b"), [gpu(0, 16), gpu(1, 22)])
    assert [room.name for room in placing.chosen] == ["GPU 0", "GPU 1"]
    assert all(room.reserve_bytes <= room.available_bytes for room in placing.chosen)
    small, large = placing.chosen
    assert small.take_bytes < large.take_bytes
    assert small.terms is not None
    assert small.terms.overhead_bytes == 150 * 1024**2
    assert sum(room.take_bytes for room in placing.chosen) == placing.reckoning.needed_bytes


def test_a_server_that_divides_every_model_uses_every_gpu() -> None:
    placing = place(replace(subject("llama3.1:8b"), every_gpu=True), [gpu(0, 20), gpu(1, 20)])
    assert len(placing.chosen) == 2


def test_the_gpu_of_the_command_line_is_used_unless_another_was_asked_for() -> None:
    told = replace(subject("llama3.1:8b"), only_gpu=0)
    assert [room.name for room in place(told, [gpu(0, 12), gpu(1, 20)]).chosen] == ["GPU 0"]
    assert [room.name for room in place(told, [gpu(0, 12), gpu(1, 20)], "GPU-1").chosen] == ["GPU 1"]


def test_a_header_must_fit_with_its_whole_band() -> None:
    whole = place(subject("llama3.1:8b"), [gpu(0, 20)]).chosen[0]
    tight = replace(gpu(0, 0), free_bytes=whole.take_bytes + 2 * GIB)
    assert place(subject("llama3.1:8b"), [tight]).shortfall_bytes == whole.error_bytes
    enough = replace(tight, free_bytes=whole.reserve_bytes + 2 * GIB)
    assert place(subject("llama3.1:8b"), [enough]).shortfall_bytes == 0


def test_where_nothing_is_enough_every_gpu_says_what_it_lacks() -> None:
    placing = place(subject("deepseek-r1:32b", 131_072), [gpu(0, 10), gpu(1, 10)])
    assert len(placing.chosen) == 2
    assert placing.shortfall_bytes == sum(room.reserve_bytes - room.available_bytes for room in placing.chosen)


def test_without_a_gpu_everything_goes_to_host_ram() -> None:
    ram = Room("", "Host RAM", 64 * GIB, 60 * GIB, 0, 6 * GIB, 0)
    placing = place(subject("llama3.1:8b"), [ram])
    assert placing.chosen[0].name == "Host RAM"
    assert placing.chosen[0].take_bytes > 5 * GIB
    assert placing.reckoning.ram_bytes == 0


def test_a_rule_of_thumb_is_divided_in_proportion_to_the_room() -> None:
    thumb = replace(subject("deepseek-r1:32b"), header=b"")
    small, large = place(thumb, [gpu(0, 12), gpu(1, 18)]).chosen
    assert small.take_bytes / large.take_bytes == pytest.approx(10 / 16)
