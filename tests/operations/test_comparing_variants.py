"""The variants of one model side by side."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.catalog.headers import FoundHeader, record_headers
from models_app.catalog.models import CatalogModel, Variant, VariantHeader
from models_app.estimator.types import Grade
from models_app.gguf.ollama_show import header_from_show
from models_app.operations.compare import compare, needs
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.ollama_describe import show
from tests.factories import (
    CatalogModelFactory,
    EndpointFactory,
    InstallationFactory,
    LoadedModelFactory,
    VariantFactory,
)

pytestmark = pytest.mark.django_db
GIB = 1024**3


def with_header(variant: Variant, name: str) -> None:
    endpoint = EndpointFactory()
    InstallationFactory(endpoint=endpoint, variant=variant)
    header = header_from_show(show(CATALOGUE[name], verbose=False))
    record_headers(endpoint.pk, {variant.name: FoundHeader(header, "", VariantHeader.Source.ENDPOINT)})


def fresh(variant: Variant) -> Variant:
    return Variant.objects.select_related("header").get(pk=variant.pk)


def test_each_variant_says_what_it_needs_at_the_usual_contexts_and_at_its_maximum() -> None:
    variant = VariantFactory(training_context_length=131_072)
    with_header(variant, "llama3.1:8b")
    found = needs(fresh(variant))
    assert [need.context_length for need in found] == [4096, 8192, 32_768, 131_072]
    assert [need.kv_bytes for need in found] == [GIB // 2, GIB, 4 * GIB, 16 * GIB]
    assert all(need.grade is Grade.HEADER and need.error_bytes for need in found)


def test_a_context_beyond_the_training_is_not_shown() -> None:
    assert [need.context_length for need in needs(VariantFactory(training_context_length=8192))] == [4096, 8192]
    assert [need.context_length for need in needs(VariantFactory(training_context_length=2048))] == [2048]


def test_without_a_header_it_is_a_rule_of_thumb_and_without_a_shape_it_says_what_lacks() -> None:
    assert needs(VariantFactory())[0].grade is Grade.QUICK
    unknown = needs(VariantFactory(layer_count=None))[0]
    assert (unknown.vram_bytes, unknown.kv_bytes) == (None, None)
    assert "the number of layers" in unknown.why


def test_the_largest_variant_comes_first_with_where_it_is_installed_and_loaded() -> None:
    model = CatalogModelFactory()
    small = VariantFactory(model=model, file_size_bytes=4 * GIB)
    large = VariantFactory(model=model, file_size_bytes=8 * GIB, quantization="Q8_0")
    place = InstallationFactory(variant=large)
    loaded = LoadedModelFactory(endpoint=place.endpoint, name=place.name)
    first, second = compare(model)
    assert (first.variant, second.variant) == (large, small)
    assert [(each.installation, each.loaded) for each in first.places] == [(place, loaded)]
    assert (first.is_loaded, second.is_loaded) == (True, False)


def test_a_model_without_variants_is_empty() -> None:
    assert compare(CatalogModelFactory()) == []


def queries_of(model: CatalogModel) -> int:
    with CaptureQueriesContext(connection) as queries:
        for row in compare(model):
            assert [(place.installation.endpoint.host.name, place.installation.name) for place in row.places]
            assert row.variant.model.name
    return len(queries)


def test_many_variants_cost_no_more_queries_than_one() -> None:
    models = [CatalogModelFactory(), CatalogModelFactory()]
    for model, count in zip(models, (1, 12), strict=True):
        for variant in VariantFactory.create_batch(count, model=model):
            with_header(variant, "llama3.1:8b")
    assert queries_of(models[0]) == queries_of(models[1]) == 5
