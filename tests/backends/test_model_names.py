"""Which model names are sent on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.backends.errors import InvalidName
from models_app.backends.names import canonical_ollama_name, check_name, check_registry, check_served_name

IMPOSSIBLE = [
    "",
    " ",
    " llama",
    "llama\n",
    "..",
    "../../etc/passwd",
    "a/../b",
    "/etc/passwd",
    "~/model",
    "C:\\model",
    "llama\x00",
    "llama\x1b[2J",
    "llama\u202egguf",
    "llama\ud800",
    "x" * 201,
    "http://evil.example/x/y",
    "evil.example//x",
]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_name_that_no_server_could_mean_is_refused(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name)
    assert caught.value.code == "invalid_model_name"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2:1b", "llama3.2:1b"),
        ("library/llama3.2:1b", "llama3.2:1b"),
        ("registry.ollama.ai/library/llama3.2", "llama3.2:latest"),
        ("registry.ollama.ai/someone/model:tag", "someone/model:tag"),
        ("someone/model", "someone/model:latest"),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
        ("127.0.0.1:18962/library/m100:latest", "127.0.0.1:18962/library/m100:latest"),
    ],
)
def test_an_ollama_name_is_written_as_ollama_lists_it(name: str, canonical: str) -> None:
    assert canonical_ollama_name(name) == canonical
    assert canonical_ollama_name(canonical) == canonical


@pytest.mark.parametrize("name", ["!!bad", "a b", "a:b:c", "a/b/c/d", "model:", ":tag", "-x", "a/b.c/../d", "módel"])
def test_what_ollama_could_not_parse_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        canonical_ollama_name(name)


@pytest.mark.parametrize(
    "name", ["evil.example/x/y", "evil.example:5000/x", "10.0.0.1/x/y", "localhost/x/y:1", "host:80/x"]
)
def test_another_registry_is_refused_unless_it_is_allowed(name: str) -> None:
    with pytest.raises(InvalidName, match="registry"):
        check_registry(name, frozenset({"registry.ollama.ai"}))
    host = name.split("/", 1)[0]
    assert check_registry(name, frozenset({host})) == name


@pytest.mark.parametrize("name", ["llama3.2:1b", "someone/model", "registry.ollama.ai/library/llama3.2"])
def test_the_own_registry_is_no_other_registry(name: str) -> None:
    assert check_registry(name, frozenset({"registry.ollama.ai"})) == name


def test_a_path_is_a_name_only_where_a_server_gave_it() -> None:
    assert check_served_name("/srv/models/tiny-llama.gguf") == "/srv/models/tiny-llama.gguf"
    with pytest.raises(InvalidName):
        check_name("/srv/models/tiny-llama.gguf")


@given(st.text(max_size=250))
def test_a_canonical_name_is_stable_and_harmless(name: str) -> None:
    try:
        canonical = canonical_ollama_name(name)
    except InvalidName:
        return
    assert canonical.isascii()
    assert canonical.isprintable()
    assert ".." not in canonical
    assert not canonical.startswith("/")
    assert canonical_ollama_name(canonical) == canonical
