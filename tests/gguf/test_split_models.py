"""A model split over files is read from any of its parts; what does not belong together is refused."""

from pathlib import Path

import pytest

from models_app.gguf.errors import MissingSplit
from models_app.gguf.splits import read_model
from tests.tools.sparse_gguf import SparseTensor, write_sparse_gguf


def write_parts(folder: Path, count: int = 3, announced: int = 3) -> list[Path]:
    """A model of one tensor a part."""
    paths = []
    for number in range(count):
        metadata = {"split.no": number, "split.count": count, "split.tensors.count": announced}
        if number == 0:
            metadata["llama.block_count"] = 5
        path = folder / f"model-{number + 1:05}-of-{count:05}.gguf"
        paths.append(write_sparse_gguf(path, metadata, [SparseTensor(f"blk.{number}.weight", (32, 2))]))
    return paths


@pytest.mark.parametrize("start", [0, 1, 2])
def test_any_part_leads_to_the_whole_model(tmp_path: Path, start: int) -> None:
    header = read_model(write_parts(tmp_path)[start])
    assert [tensor.name for tensor in header.tensors] == ["blk.0.weight", "blk.1.weight", "blk.2.weight"]
    assert header.metadata["llama.block_count"] == 5


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    first, second, _ = write_parts(tmp_path)
    second.unlink()
    with pytest.raises(MissingSplit, match=r"model-00002-of-00003\.gguf is missing"):
        read_model(first)


def test_a_renamed_part_is_refused(tmp_path: Path) -> None:
    first = write_parts(tmp_path)[0]
    with pytest.raises(MissingSplit, match="is not named"):
        read_model(first.rename(tmp_path / "renamed.gguf"))


def test_a_part_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    first, second, third = write_parts(tmp_path)
    second.write_bytes(third.read_bytes())
    with pytest.raises(MissingSplit, match="says that it is part 2, not 1"):
        read_model(first)


def test_parts_with_the_wrong_number_of_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingSplit, match="3 tensors, not the 4"):
        read_model(write_parts(tmp_path, announced=4)[0])


def test_a_model_in_one_file_needs_no_scheme(tmp_path: Path) -> None:
    path = write_sparse_gguf(tmp_path / "any name", {}, [SparseTensor("t", (32,))])
    assert len(read_model(path).tensors) == 1
