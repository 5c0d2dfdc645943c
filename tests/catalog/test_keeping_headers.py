"""Headers in the catalog: small, complete enough for an estimate, and bounded."""

from __future__ import annotations

import zlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from models_app.catalog.headers import (
    MAX_STORED_BYTES,
    FoundHeader,
    HeaderTooLarge,
    adopt_headers,
    decoded,
    encoded,
    record_headers,
    stored_shape,
    unread_headers,
)
from models_app.catalog.models import VariantHeader
from models_app.estimator.header import header_estimate
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import EstimateError, LoadSettings
from models_app.gguf.header import GgufHeader, SkippedArray, TensorInfo
from models_app.gguf.ollama_show import header_from_show
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME
from models_app.simulation.catalogue import CATALOGUE, MODELS
from models_app.simulation.ollama_describe import show
from tests.factories import EndpointFactory, InstallationFactory, VariantFactory

FILE, TOLD = VariantHeader.Source.FILE, VariantHeader.Source.ENDPOINT


def header_of(name: str) -> GgufHeader:
    return header_from_show(show(CATALOGUE[name], verbose=True))


@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_an_estimate_from_what_was_kept_is_the_same(name: str) -> None:
    header = header_of(name)
    content = encoded(header)
    assert len(content) < 8 * 1024
    if header.architecture != "gptoss":
        before, after = read_shape(header), stored_shape(content)
        assert header_estimate(after, LoadSettings()) == header_estimate(before, LoadSettings())


def test_texts_and_vocabularies_stay_out() -> None:
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.scaling.type": "yarn",
        "llama.attention.head_count_kv": (4, 2),
        "tokenizer.chat_template": "x" * 100_000,
        "tokenizer.ggml.tokens": SkippedArray(32_000),
    }
    kept = decoded(encoded(GgufHeader(3, metadata, ())))
    assert kept.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.attention.head_count_kv": (4, 2),
        "tokenizer.ggml.tokens": SkippedArray(32_000),
    }


def test_an_architecture_that_ollama_calls_otherwise_is_known_by_its_usual_name() -> None:
    assert stored_shape(encoded(header_of("gpt-oss:20b"))).architecture_name == "gpt-oss"


def test_a_header_without_measure_is_refused() -> None:
    kind = TENSOR_TYPES_BY_NAME["F32"]
    tensors = tuple(TensorInfo(f"{number * 2654435761 % 2**64:x}", (number,), kind) for number in range(1, 60_000))
    with pytest.raises(HeaderTooLarge):
        encoded(GgufHeader(3, {"general.architecture": "llama"}, tensors))
    assert MAX_STORED_BYTES == 256 * 1024


@given(st.binary(max_size=200))
def test_damaged_content_is_an_estimate_error(content: bytes) -> None:
    for damaged in (content, zlib.compress(content)):
        with pytest.raises(EstimateError):
            stored_shape(damaged)


@pytest.mark.django_db
def test_a_header_is_read_once_for_a_digest() -> None:
    endpoint = EndpointFactory()
    first = InstallationFactory(endpoint=endpoint, variant=VariantFactory(name="a:1", digest="d" * 64))
    second = InstallationFactory(endpoint=endpoint, variant=VariantFactory(name="b:1", digest="d" * 64))
    assert unread_headers(endpoint.pk, {}) == {"a:1": first.variant_id, "b:1": second.variant_id}
    record_headers(endpoint.pk, {"a:1": FoundHeader(header_of("llama3.1:8b"), "", TOLD)})
    adopt_headers(endpoint.pk)
    assert unread_headers(endpoint.pk, {}) == {}
    assert second.variant.header.content == first.variant.header.content


@pytest.mark.django_db
def test_a_file_that_has_changed_is_read_again() -> None:
    endpoint = EndpointFactory()
    place = InstallationFactory(endpoint=endpoint, variant=VariantFactory(name="m", digest=""))
    record_headers(endpoint.pk, {"m": FoundHeader(header_of("llama3.1:8b"), "5:1", FILE)})
    assert unread_headers(endpoint.pk, {"m": "5:1"}) == {}
    assert unread_headers(endpoint.pk, {}) == {}
    assert unread_headers(endpoint.pk, {"m": "5:2"}) == {"m": place.variant_id}
    record_headers(endpoint.pk, {"m": FoundHeader(header_of("qwen3:8b"), "5:2", FILE)})
    assert stored_shape(VariantHeader.objects.get().content).architecture_name == "qwen3"


@pytest.mark.django_db
def test_many_headers_cost_no_more_queries_than_few() -> None:
    counts = []
    for number in (1, 20):
        endpoint = EndpointFactory()
        places = InstallationFactory.create_batch(number, endpoint=endpoint)
        found = {place.name: FoundHeader(header_of("llama3.1:8b"), "", TOLD) for place in places}
        with CaptureQueriesContext(
            connection,
        ) as queries:
            record_headers(endpoint.pk, found)
            adopt_headers(endpoint.pk)
            unread_headers(endpoint.pk, {})
        counts.append(len(queries))
    assert counts[0] == counts[1]
