"""``manage.py estimate --model NAME``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from models_app.catalog.headers import FoundHeader, record_headers
from models_app.catalog.models import VariantHeader
from models_app.estimator.header import header_estimate
from models_app.estimator.types import LoadSettings
from models_app.gguf.ollama_show import header_from_show
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.ollama_describe import show
from tests.factories import InstallationFactory, VariantFactory


def printed(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command("estimate", *args, "--json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


@pytest.mark.django_db
def test_a_models_header_answers_like_its_file() -> None:
    place = InstallationFactory(variant=VariantFactory(name="llama3.1:8b"))
    header = header_from_show(show(CATALOGUE["llama3.1:8b"], verbose=False))
    record_headers(place.endpoint_id, {place.name: FoundHeader(header, "", VariantHeader.Source.ENDPOINT)})
    told = printed("--model", "llama3.1:8b", "--ctx", "8192")
    assert told["grade"] == "header"
    assert told["total_bytes"] == header_estimate(header, LoadSettings(context_length=8192)).total_bytes


@pytest.mark.django_db
def test_without_a_header_the_rule_of_thumb_answers() -> None:
    VariantFactory(name="llama3.1:latest")
    assert printed("--model", "llama3.1")["grade"] == "quick"


@pytest.mark.django_db
def test_a_model_that_lacks_figures_says_which() -> None:
    VariantFactory(name="m:1", layer_count=None)
    with pytest.raises(CommandError, match="the number of layers"):
        printed("--model", "m:1")


@pytest.mark.django_db
def test_an_unknown_model_is_named() -> None:
    with pytest.raises(CommandError, match="no model 'nobody'"):
        printed("--model", "nobody")


@pytest.mark.parametrize("args", [[], ["a.gguf", "--model", "b"]])
def test_either_a_file_or_a_model_is_given(args: list[str]) -> None:
    with pytest.raises(CommandError, match="Give a GGUF file, or --model"):
        printed(*args)
