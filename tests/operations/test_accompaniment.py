"""What is loaded beside a model is part of its estimate: from the command line's files, or the size of Ollama's layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_app.catalog.headers import encoded
from models_app.estimator.companions import PROJECTOR_COMPUTE_BYTES
from models_app.estimator.profiles import CURRENT
from models_app.estimator.types import LoadSettings
from models_app.inventory.models import Endpoint, Host
from models_app.operations.accompaniment import NO_COMPANIONS, Companions, companions_of
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon_unlearned
from models_app.operations.subject import Subject
from tests.tools.model_shapes import header_of, write_model
from tests.tools.sparse_gguf import SparseTensor, write_sparse_gguf

MIB = 1024**2
HEADER = encoded(header_of("llama-3.1-8b"))
WEIGHTS_BYTES = header_of("llama-3.1-8b").weights_bytes


def endpoint(kind: str = "llama_server", *, is_local: bool = True) -> Endpoint:
    return Endpoint(host=Host(name="here", is_local=is_local), kind=kind)


def reckoned_with(companions: Companions) -> Reckoning:
    return reckon_unlearned(
        Subject(None, WEIGHTS_BYTES, LoadSettings(context_length=8192), CURRENT, HEADER, companions=companions), None
    )


ALONE = reckoned_with(NO_COMPANIONS)


def test_a_projector_of_the_command_line_is_counted(tmp_path: Path) -> None:
    tensors = [SparseTensor("v.patch_embd.weight", (1024, 1024), "F16")]
    path = write_sparse_gguf(tmp_path / "mmproj.gguf", {"general.architecture": "clip"}, tensors)
    found = reckoned_with(companions_of(endpoint(), {"mmproj": str(path)}, 0, HEADER))
    assert (found.weights_bytes or 0) - (ALONE.weights_bytes or 0) == 2 * MIB
    assert found.compute_bytes - ALONE.compute_bytes == PROJECTOR_COMPUTE_BYTES


def test_a_draft_model_is_counted_with_its_own_cache(tmp_path: Path) -> None:
    path = write_model("llama-3.2-1b", tmp_path / "draft.gguf")
    found = reckoned_with(companions_of(endpoint(), {"model_draft": str(path)}, 0, HEADER))
    assert (found.kv_bytes or 0) - (ALONE.kv_bytes or 0) == 16 * 8192 * 2 * 512 * 2
    assert (found.weights_bytes or 0) > (ALONE.weights_bytes or 0) + 500 * MIB


def test_an_adapter_is_counted(tmp_path: Path) -> None:
    tensors = [SparseTensor("blk.0.attn_q.weight.lora_a", (4096, 16), "F16")]
    path = write_sparse_gguf(tmp_path / "lora.gguf", {"general.type": "adapter"}, tensors)
    found = reckoned_with(companions_of(endpoint(), {"lora": str(path)}, 0, HEADER))
    assert (found.weights_bytes or 0) - (ALONE.weights_bytes or 0) == 4096 * 16 * 2


@pytest.mark.parametrize("name", ["mmproj", "model_draft", "lora"])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    found = reckoned_with(companions_of(endpoint(), {name: str(broken)}, 0, HEADER))
    assert any("broken.gguf cannot be read" in note for note in found.unknown)
    for place, path in ((endpoint(is_local=False), str(broken)), (endpoint(), str(tmp_path / "absent.gguf"))):
        found = reckoned_with(companions_of(place, {name: path}, 0, HEADER))
        assert any("its size is not known" in note for note in found.unknown)


def test_what_ollamas_files_hold_beyond_the_tensors_is_its_projector() -> None:
    found = companions_of(endpoint("ollama"), {}, WEIGHTS_BYTES + 800 * MIB, HEADER)
    assert found.projector_bytes == 800 * MIB
    shown = reckoned_with(found)
    assert (shown.weights_bytes or 0) - (ALONE.weights_bytes or 0) == 800 * MIB
    assert any("projector" in note for note in shown.unknown)


@pytest.mark.parametrize("size_bytes", [0, WEIGHTS_BYTES, WEIGHTS_BYTES + 30 * MIB])
def test_texts_and_vocabularies_are_no_projector(size_bytes: int) -> None:
    assert companions_of(endpoint("ollama"), {}, size_bytes, HEADER).projector_bytes == 0


def test_a_server_that_loads_nothing_else_has_no_companions() -> None:
    assert companions_of(endpoint(), {"ctx_size": 4096}, WEIGHTS_BYTES + 800 * MIB, HEADER) == NO_COMPANIONS
