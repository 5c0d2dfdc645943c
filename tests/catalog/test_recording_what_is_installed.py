"""Models, variants and installations follow what endpoints list."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_app.backends.protocol import InstalledModel, ModelShape
from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.catalog.sync import record_failure, record_installed, record_shapes, unshaped
from models_app.live import current_revision
from tests.factories import EndpointFactory

pytestmark = pytest.mark.django_db

LLAMA = InstalledModel(
    "llama3.1:8b", "a" * 64, 4_920_000_000, "llama", "Q4_K_M", 8_000_000_000, modified_at=datetime(2026, 9, 1, tzinfo=UTC)
)
SHAPE = ModelShape("llama", 32, 8, 32, 128, 128, 4096, 131_072, 8_030_261_312)


def many(count: int) -> list[InstalledModel]:
    return [replace(LLAMA, name=f"model-{n % 997}:{n}b", digest=f"{n:064x}") for n in range(count)]


def test_quantizations_of_one_family_share_a_model() -> None:
    record_installed(EndpointFactory().pk, [LLAMA, replace(LLAMA, name="llama3.1:8b-instruct-q8_0", digest="b" * 64)])
    model = CatalogModel.objects.get()
    assert model.name == "llama3.1"
    assert [variant.name for variant in model.variants.all()] == ["llama3.1:8b", "llama3.1:8b-instruct-q8_0"]


def test_two_endpoints_share_the_variant_of_the_same_digest() -> None:
    record_installed(EndpointFactory().pk, [LLAMA])
    record_installed(EndpointFactory().pk, [LLAMA])
    assert Variant.objects.get().installations.count() == 2


def test_the_same_list_twice_changes_nothing() -> None:
    endpoint = EndpointFactory()
    assert record_installed(endpoint.pk, [LLAMA], {LLAMA.name: SHAPE}) is True
    first = Installation.objects.get().seen_at
    assert record_installed(endpoint.pk, [LLAMA], {LLAMA.name: SHAPE}) is False
    assert record_installed(endpoint.pk, [LLAMA]) is False
    assert Installation.objects.get().seen_at > first


def test_a_header_is_never_overwritten_by_rounded_figures() -> None:
    endpoint = EndpointFactory()
    record_installed(endpoint.pk, [LLAMA], {LLAMA.name: SHAPE})
    record_installed(endpoint.pk, [LLAMA])
    variant = Variant.objects.get()
    assert (variant.parameter_count, variant.layer_count, variant.kv_head_count) == (8_030_261_312, 32, 8)


def test_an_endpoint_that_tells_nothing_erases_nothing() -> None:
    record_installed(EndpointFactory().pk, [replace(LLAMA, digest="")], {LLAMA.name: SHAPE})
    record_installed(EndpointFactory().pk, [InstalledModel(LLAMA.name)])
    variant = Variant.objects.get()
    assert (variant.file_size_bytes, variant.quantization, variant.layer_count) == (4_920_000_000, "Q4_K_M", 32)


def test_a_pulled_update_is_another_variant_and_forgets_the_old_failure() -> None:
    endpoint = EndpointFactory()
    record_installed(endpoint.pk, [LLAMA])
    record_failure(endpoint.pk, LLAMA.name, "The file is cut off.")
    assert Installation.objects.get().last_failure == "The file is cut off."
    record_installed(endpoint.pk, [replace(LLAMA, digest="b" * 64)])
    installation = Installation.objects.get()
    assert (installation.variant.digest, installation.last_failure) == ("b" * 64, "")


def test_a_model_that_is_gone_loses_its_installation() -> None:
    endpoint, other = EndpointFactory(), EndpointFactory()
    record_installed(endpoint.pk, [LLAMA])
    record_installed(other.pk, [LLAMA])
    assert record_installed(endpoint.pk, []) is True
    assert Installation.objects.get().endpoint == other


def test_headers_that_nobody_knows_are_asked_for() -> None:
    endpoint = EndpointFactory()
    record_installed(endpoint.pk, [LLAMA])
    assert unshaped(endpoint.pk).keys() == {LLAMA.name}
    assert record_shapes(endpoint.pk, {LLAMA.name: SHAPE, "unknown": SHAPE}) is True
    assert unshaped(endpoint.pk) == {}
    assert record_shapes(endpoint.pk, {LLAMA.name: SHAPE}) is False


def test_impossible_figures_are_left_out() -> None:
    odd = ModelShape("a" * 100, layer_count=2**40, embedding_length=64, training_context_length=2**40)
    record_installed(EndpointFactory().pk, [replace(LLAMA, quantization="Q" * 50, digest="d" * 200)], {LLAMA.name: odd})
    variant = Variant.objects.get()
    assert (variant.layer_count, variant.training_context_length, variant.embedding_length) == (None, None, 64)
    assert (len(variant.architecture), len(variant.quantization), len(variant.digest)) == (40, 20, 80)


def test_names_that_no_column_holds_are_left_out() -> None:
    record_installed(EndpointFactory().pk, [replace(LLAMA, name="x" * 300), replace(LLAMA, name=""), LLAMA])
    assert Installation.objects.get().name == LLAMA.name


def test_thousands_of_models_take_few_queries() -> None:
    endpoint = EndpointFactory()
    models = many(4000)
    assert record_installed(endpoint.pk, models) is True
    assert (Installation.objects.count(), CatalogModel.objects.count()) == (4000, 997)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert record_installed(endpoint.pk, models) is False
    assert len(queries) <= 8
    with CaptureQueriesContext(connection) as queries:
        record_installed(endpoint.pk, models[1:])
    assert len(queries) <= 12


@pytest.mark.django_db(transaction=True)
def test_only_a_change_is_published() -> None:
    endpoint = EndpointFactory()
    record_installed(endpoint.pk, [LLAMA])
    published = current_revision()
    assert published > 0
    record_installed(endpoint.pk, [LLAMA])
    assert current_revision() == published
