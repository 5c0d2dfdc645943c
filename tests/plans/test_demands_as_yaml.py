"""Demands as YAML: the round trip is exact, and a hostile file is refused before anything is built from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.plans.demand import DemandSpec
from models_app.plans.documents import MOST_BYTES, InvalidYaml, demands_yaml, read_yaml

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9 .:/+@_-]{0,20}[a-z0-9]", fullmatch=True)
SPECS = st.builds(
    DemandSpec,
    name=NAMES,
    model=WORDS,
    variants=st.lists(WORDS, max_size=3, unique=True).map(tuple),
    context_length=st.integers(8192, 10**6),
    least_context_length=st.none() | st.integers(1, 8192),
    slots=st.integers(1, 8),
    tags=st.lists(WORDS, max_size=3, unique=True).map(tuple),
    priority=st.integers(1, 5),
    on_demand=st.booleans(),
)


@given(st.lists(SPECS, max_size=5, unique_by=lambda spec: spec.name))
def test_what_is_written_is_read_back_exactly_and_written_the_same(specs: list[DemandSpec]) -> None:
    text = demands_yaml(specs)
    assert read_yaml(text) == specs
    assert demands_yaml(read_yaml(text)) == text


def test_a_hand_written_file_is_read() -> None:
    text = "# ours\ndemands:\n- name: code\n  model: qwen2.5-coder:14b\n  variants: [a, b]\n  priority: 1\n"
    assert read_yaml(text) == [DemandSpec("code", "qwen2.5-coder:14b", variants=("a", "b"), priority=1)]


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("a: &a [x]\nb: *a", "yaml_alias", "Line 1: anchors and aliases"),
        ("demands: !!python/object/apply:os.system ['id']", "yaml_tag", "tags are not accepted"),
        ("[" * 50 + "]" * 50, "yaml_too_large", "nested too deeply"),
        ("demands: [" + "1," * 60_000 + "1]", "yaml_too_large", "too many values"),
        ("x" * (MOST_BYTES + 1), "yaml_too_large", "larger than 256 KiB"),
        ("demands: [}", "invalid_yaml", "Line 1"),
        ("demands: \x00", "invalid_yaml", "The file is no YAML"),
        ("- name: a", "invalid_yaml", "one key, demands"),
        ("demands: []\ndemands: []", "invalid_yaml", "given twice"),
        ("? [a]\n: b", "invalid_yaml", "a key is a word"),
        ("demands: [2026-13-45]", "invalid_yaml", "cannot be read"),
        ("demands: [{name: a}]", "invalid_demands", "Demand 1 (a): model: Give a model"),
        ("demands: [7]", "invalid_demands", "A demand is a mapping"),
        ("demands: [{name: a, model: m}, {name: a, model: m}]", "invalid_demands", "Two demands are named a"),
    ],
)
def test_what_is_no_list_of_demands_is_refused_with_a_sentence(text: str, code: str, sentence: str) -> None:
    with pytest.raises(InvalidYaml) as caught:
        read_yaml(text)
    assert caught.value.code == code
    assert sentence in str(caught.value)


def test_a_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(InvalidYaml) as caught:
        read_yaml("\n".join(lines))
    assert caught.value.code == "yaml_alias"
