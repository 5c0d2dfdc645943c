"""The models that the tests make are what was asked for, and a real llama-server answers from them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.fixtures.real_servers import StartServer
from tests.tools.gguf_weights import Shape
from tests.tools.make_gguf import MEGABYTE, VOCABULARIES, write_model

GENERATIVE = sorted(VOCABULARIES.keys() - {"bert"})


@pytest.mark.parametrize("arch", VOCABULARIES)
def test_a_target_size_is_met_by_adding_layers(arch: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    size_bytes = write_model(path, arch=arch, shape=Shape(embedding_length=128), target_mb=20)
    assert size_bytes == path.stat().st_size
    assert size_bytes == pytest.approx(20 * MEGABYTE, rel=0.05)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_model(tmp_path / folder / "model.gguf", seed=7)
    assert (tmp_path / "one/model.gguf").read_bytes() == (tmp_path / "two/model.gguf").read_bytes()


@pytest.mark.parametrize(
    ("dimensions", "complaint"),
    [
        ({"embedding_length": 60, "head_count": 8}, "multiple of twice 8 heads"),
        ({"head_count": 4, "kv_head_count": 3}, "cannot share 3 key-value heads"),
        ({"layer_count": 0}, "at least 1"),
    ],
)
def test_impossible_dimensions_are_refused(dimensions: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Shape(**dimensions)


@pytest.mark.parametrize("target_mb", [-1, 0, 0.1])
def test_a_size_that_holds_no_layer_is_refused_and_leaves_no_file(target_mb: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no layer"):
        write_model(tmp_path / "model.gguf", target_mb=target_mb)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose from llama, gemma, qwen2, bert"):
        write_model(tmp_path / "model.gguf", arch="mamba")


@pytest.mark.real
@pytest.mark.parametrize("arch", GENERATIVE)
def test_a_real_server_completes_with_printable_text(arch: str, tmp_path: Path, start_llama_server: StartServer) -> None:
    path = tmp_path / f"{arch}.gguf"
    write_model(path, arch=arch)
    server = start_llama_server("--model", str(path))
    question = {"prompt": "hello world", "n_predict": 16, "temperature": 0}
    answer = httpx.post(f"{server.url}/completion", json=question, timeout=30).json()
    assert answer["tokens_predicted"] == 16
    assert answer["content"].isprintable()


@pytest.mark.real
def test_a_real_server_embeds_with_the_bert_model(tmp_path: Path, start_llama_server: StartServer) -> None:
    path = tmp_path / "bert.gguf"
    write_model(path, arch="bert", shape=Shape(embedding_length=128))
    server = start_llama_server("--model", str(path), "--embedding")
    answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": "hello world"}, timeout=30).json()
    assert len(answer["data"][0]["embedding"]) == 128
