"""A demand's document: what is accepted, what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.plans.demand import DemandSpec, InvalidDemand, between, read_demand

CODE = {"name": "code", "model": "qwen2.5-coder:14b"}


def faults(**changed: Any) -> dict[str, str]:
    with pytest.raises(InvalidDemand) as caught:
        read_demand(CODE | changed)
    return caught.value.errors


def test_a_name_and_a_model_are_enough() -> None:
    assert read_demand(CODE) == DemandSpec("code", "qwen2.5-coder:14b")


def test_a_document_read_and_written_again_is_the_same_without_defaults() -> None:
    given = CODE | {"context_length": 32768, "least_context_length": 8192, "variants": ["a", "b"], "on_demand": True}
    assert read_demand(given).document() == given


def test_everything_at_fault_is_said_at_once() -> None:
    errors = faults(name="", priority=9, replicas="two", hosts="atlas", on_demand="yes", together_on="rack")
    assert set(errors) == {"name", "priority", "replicas", "hosts", "on_demand", "together_on"}
    assert errors["priority"] == "The priority is from 1 to 5, not 9."


def test_an_unknown_field_is_named_with_those_that_exist() -> None:
    assert faults(ctx=4096)["ctx"].startswith("There is no field “ctx”. Fields: name, model, variants")


@pytest.mark.parametrize("document", [None, [], "code", 7])
def test_what_is_no_mapping_is_no_demand(document: object) -> None:
    with pytest.raises(InvalidDemand, match="A demand is a mapping"):
        read_demand(document)


@pytest.mark.parametrize(
    ("changed", "field", "sentence"),
    [
        ({"context_length": 4096, "least_context_length": 8192}, "least_context_length", "more than the one wanted"),
        ({"tolerated_wait_seconds": 10}, "tolerated_wait_seconds", "always-on demand never does"),
        ({"pinned_gpus": ["GPU-1"], "replicas": 2}, "replicas", "replicas never share a GPU"),
        ({"pinned_gpus": ["GPU-1"], "gpus": ["GPU-2"]}, "pinned_gpus", "not among those allowed"),
        ({"apart_from": ["code"]}, "apart_from", "names itself"),
        ({"apart_from": ["b"], "together_with": ["b"]}, "apart_from", "together with it and apart from it"),
    ],
)
def test_a_contradiction_is_said_at_its_field(changed: dict[str, Any], field: str, sentence: str) -> None:
    assert sentence in faults(**changed)[field]


def test_one_host_and_different_gpus_is_no_contradiction() -> None:
    spec = read_demand(CODE | {"together_with": ["b"], "together_on": "host", "apart_from": ["b"], "apart_on": "gpu"})
    assert spec.apart_on == "gpu"


def test_demands_must_not_contradict_or_name_what_is_not_there() -> None:
    one = DemandSpec("a", "m", together_with=("b",), together_on="gpu")
    other = DemandSpec("b", "m", apart_from=("a", "c"))
    assert between([one, other]) == {
        "a": "a is to be kept together with b, which is to be kept apart from it.",
        "b": "b names the demand c, which does not exist.",
    }
    assert between([one, one])["a"] == "a names the demand b, which does not exist."
