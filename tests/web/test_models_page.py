"""The catalog's pages: list, model, pull and delete."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.urls import reverse

from models_app.catalog.models import Installation
from models_app.inventory.models import Endpoint, LoadedModel
from models_app.operations.models import Operation
from tests.factories import (
    GIB,
    CatalogModelFactory,
    EndpointFactory,
    InstallationFactory,
    LoadedModelFactory,
    VariantFactory,
)

MODELS, PULL = "/models/", "/models/pull/"


@pytest.fixture
def catalog(db):
    """Two models: one installed twice and loaded once, one installed nowhere any more."""
    near, far = EndpointFactory(name="near"), EndpointFactory(name="far")
    model = CatalogModelFactory(name="llama3.1")
    variant = VariantFactory(model=model, name="llama3.1:8b", quantization="Q4_K_M", file_size_bytes=int(4.6 * GIB))
    for endpoint in (near, far):
        InstallationFactory(variant=variant, endpoint=endpoint, name="llama3.1:8b", size_bytes=int(4.6 * GIB))
    LoadedModelFactory(endpoint=near, name="llama3.1:8b", vram_bytes=6 * GIB, context_length=8192)
    gone = VariantFactory(model__name="phi4", name="phi4:14b", quantization="Q8_0", is_embedding=True)
    return {"near": near, "far": far, "model": model, "variant": variant, "gone": gone}


def results(client, **query: str) -> str:
    answer = client.get(MODELS, query)
    assert answer.status_code == 200
    return answer.content.decode().split('id="results"')[1]


def test_visitors_are_sent_to_the_login(client, catalog):
    for address in (MODELS, PULL, reverse("model_detail", args=[catalog["model"].pk])):
        assert client.get(address).url.startswith(reverse("login"))


def test_a_member_sees_the_figures_and_no_button(as_member, catalog):
    shown = results(as_member)
    for figure in ("llama3.1:8b", "Q4_K_M", "4.6 GiB", "8.0 B", "128k", "near", "loaded", "nowhere any more"):
        assert figure in shown
    assert "Load…" not in shown
    assert "Pull a model" not in as_member.get(MODELS).content.decode()


def test_a_member_may_neither_pull_nor_delete(as_member, catalog):
    place = Installation.objects.first()
    assert as_member.get(PULL).status_code == 403
    assert as_member.post(PULL, {"model": "phi4", "endpoint": catalog["near"].pk}).status_code == 403
    assert as_member.get(reverse("model_delete", args=[place.pk])).status_code == 403
    assert not Operation.objects.exists()


def test_a_variant_that_is_on_many_endpoints_is_one_row(as_admin, catalog):
    assert results(as_admin).count(f'id="variant-{catalog["variant"].pk}"') == 1


@pytest.mark.parametrize(
    "query",
    [{"q": "llama 3.1"}, {"quantization": "Q4_K_M"}, {"presence": "loaded"}, {"is_embedding": "False"}],
)
def test_the_list_is_searched_and_filtered(as_admin, catalog, query):
    shown = results(as_admin, **query)
    assert "llama3.1:8b" in shown
    assert "phi4:14b" not in shown


def test_the_list_is_filtered_by_endpoint_and_by_presence(as_admin, catalog):
    assert "phi4:14b" not in results(as_admin, endpoint_id=str(catalog["far"].pk))
    assert "llama3.1:8b" not in results(as_admin, presence="gone")
    assert "Nothing matches" in results(as_admin, presence="installed")


def test_what_is_in_memory_where_nobody_answers_is_told_as_seen_last(as_admin, catalog):
    Endpoint.objects.update(state=Endpoint.State.UNREACHABLE)
    LoadedModel.objects.update(last_seen_at=datetime(2026, 5, 4, 12, 30, tzinfo=UTC))
    detail = as_admin.get(reverse("model_detail", args=[catalog["model"].pk])).content.decode()
    for shown in (results(as_admin), detail):
        assert "2026-05-04 12:30 UTC" in shown
        assert '<span class="tag good">loaded</span>' not in shown
    assert "llama3.1:8b" not in results(as_admin, presence="loaded")


def test_the_list_is_sorted_and_paged(as_admin, catalog):
    shown = results(as_admin, sort="-name")
    assert shown.index("phi4:14b") < shown.index("llama3.1:8b")
    second = results(as_admin, sort="-name", per_page="1", page="2")
    assert "2 to 2 of 2" in second
    assert "phi4:14b" not in second


@pytest.mark.parametrize("query", ["sort=digest", "page=-1", "endpoint_id=x", "q=%00", "per_page=9999", "q=" + 5000 * "x"])
def test_no_query_breaks_the_list(as_admin, catalog, query):
    assert as_admin.get(f"{MODELS}?{query}").status_code == 200


def test_the_number_of_queries_does_not_grow_with_the_list(as_admin, catalog, django_assert_max_num_queries):
    for number in range(30):
        InstallationFactory(endpoint=catalog["near"], name=f"more:{number}")
    with django_assert_max_num_queries(20):
        results(as_admin)


def test_an_empty_catalog_leads_to_the_first_host(as_admin, as_member):
    assert reverse("host_add") in results(as_admin)
    assert "An admin can add a host." in results(as_member)


def test_endpoints_without_a_model_lead_to_a_pull(as_admin, db):
    EndpointFactory()
    assert PULL in results(as_admin)


def test_a_models_page_shows_its_variants_and_where_they_are(as_admin, catalog):
    shown = as_admin.get(reverse("model_detail", args=[catalog["model"].pk])).content.decode()
    for figure in ("8 of 32", "4.6 GiB on disk", "Loaded with 6.0 GiB of VRAM, 8k context", "Delete…"):
        assert figure in shown
    loading = f"{reverse('load')}?model=llama3.1%3A8b&amp;endpoint={catalog['far'].pk}"
    assert loading in shown


def test_a_failed_load_is_remembered_on_the_models_page(as_member, catalog):
    Installation.objects.filter(endpoint=catalog["far"]).update(last_failure="the file is truncated")
    shown = as_member.get(reverse("model_detail", args=[catalog["model"].pk])).content.decode()
    assert "Last load failed: the file is truncated" in shown
    assert "Delete…" not in shown


def test_an_unknown_model_or_installation_is_not_found(as_admin):
    assert as_admin.get(reverse("model_detail", args=[4711])).status_code == 404
    assert as_admin.get(reverse("model_delete", args=[4711])).status_code == 404


def test_a_pull_becomes_an_operation(as_admin, catalog):
    answer = as_admin.post(PULL, {"model": "llama3.2:1b", "endpoint": catalog["near"].pk})
    operation = Operation.objects.get()
    assert answer.url == reverse("operation", args=[operation.pk])
    assert (operation.kind, operation.model_name, operation.endpoint) == ("pull", "llama3.2:1b", catalog["near"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "This field is required"),
        ("x" * 300, "too long: 300 characters"),
        ("../../etc/passwd", "no path"),
        ("bad\x00name", "Null characters"),
        ("evil.example/some/model", "may not be downloaded"),
        ("spaces in it", "no Ollama model name"),
    ],
)
def test_a_bad_name_comes_back_with_its_reason(as_admin, catalog, name, sentence):
    answer = as_admin.post(PULL, {"model": name, "endpoint": catalog["near"].pk})
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in shown
    assert not Operation.objects.exists()
    if name.isprintable() and name:
        assert f'value="{name}"' in shown


def test_a_pull_to_an_endpoint_that_is_away_keeps_what_was_typed(as_admin, db):
    away = EndpointFactory(state="unreachable", state_message="Nothing listens there.")
    shown = as_admin.post(PULL, {"model": "llama3.2:1b", "endpoint": away.pk}).content.decode()
    assert "Nothing listens there." in shown
    assert 'value="llama3.2:1b"' in shown


def test_only_endpoints_that_can_pull_are_offered(as_admin, catalog):
    EndpointFactory(name="a llama-server", capabilities=["load", "unload"])
    assert "a llama-server" not in as_admin.get(PULL).content.decode()


def test_without_such_an_endpoint_the_page_says_what_to_do(as_admin, db):
    assert "No endpoint can download models" in as_admin.get(PULL).content.decode()


def test_deleting_asks_first_and_says_what_is_lost(as_admin, catalog):
    place = Installation.objects.get(endpoint=catalog["near"])
    shown = as_admin.get(reverse("model_delete", args=[place.pk])).content.decode()
    assert "4.6 GiB of files on near" in shown
    assert "It is loaded: it is unloaded first" in shown
    assert "It stays installed on far." in shown
    assert not Operation.objects.exists()


def test_the_last_copy_is_called_so(as_admin, catalog):
    Installation.objects.filter(endpoint=catalog["near"]).delete()
    place = Installation.objects.get()
    assert "installed nowhere else" in as_admin.get(reverse("model_delete", args=[place.pk])).content.decode()


def test_the_answer_to_the_question_is_a_delete(as_admin, catalog):
    place = Installation.objects.get(endpoint=catalog["near"])
    question = as_admin.get(reverse("model_delete", args=[place.pk])).context["question"]
    answer = as_admin.post(question.address, dict(question.fields) | {"confirmed": "1"})
    operation = Operation.objects.get()
    assert answer.url == reverse("operation", args=[operation.pk])
    assert (operation.kind, operation.model_name, operation.unload) == ("delete", "llama3.1:8b", ["llama3.1:8b"])
