"""One model's page: its variants side by side, the question "what if?", and estimates against measurements."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from models_app.catalog.headers import FoundHeader, record_headers
from models_app.catalog.models import CatalogModel, Variant, VariantHeader
from models_app.gguf.ollama_show import header_from_show
from models_app.operations.measurements import LoadMeasurement
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.ollama_describe import show
from models_app.telemetry.models import LatestSample
from tests.factories import GIB, InstallationFactory, LoadedModelFactory, SpeedMeasurementFactory, VariantFactory
from tests.web.fleet_rows import SmallFleet, record, small_fleet

SMALL, LARGE = "llama3.1:8b-q4_K_M", "llama3.1:8b-q8_0"
ANSWER_ONLY = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "what-if-answer"}


@pytest.fixture
def rows(db) -> SmallFleet:
    return small_fleet("mistral:7b")


@pytest.fixture
def model(rows: SmallFleet) -> CatalogModel:
    """Two variants: a small one with a known header, and a large one of which only the shape is known."""
    small = VariantFactory(model__name="llama3.1", name=SMALL)
    large = VariantFactory(model=small.model, name=LARGE, quantization="Q8_0", file_size_bytes=8_540_000_000)
    for variant in (small, large):
        InstallationFactory(variant=variant, endpoint=rows.endpoint, name=variant.name)
    header = header_from_show(show(CATALOGUE["llama3.1:8b"], verbose=False))
    record_headers(rows.endpoint.pk, {SMALL: FoundHeader(header, "", VariantHeader.Source.ENDPOINT)})
    return small.model


def opened(client: Client, model: CatalogModel, query: dict[str, Any] | None = None, **headers: str) -> str:
    answer = client.get(f"/models/{model.pk}/", query or {}, **headers)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def measured(variant: Variant, rows: SmallFleet, **fields: Any) -> LoadMeasurement:
    usual = {
        "backend_kind": "ollama",
        "build_profile": "",
        "gpu_names": rows.gpu.name,
        "settings_key": "",
        "context_length": 8192,
        "estimated_bytes": 6 * GIB,
        "kv_bytes": GIB,
        "compute_bytes": 0,
        "grade": "header",
        "predicted_bytes": 6 * GIB,
        "predicted_error_bytes": GIB // 4,
        "measured_bytes": int(6.25 * GIB),
        "verified_by": "process",
    }
    return LoadMeasurement.objects.create(variant=variant, endpoint=rows.endpoint, **(usual | fields))


def test_variants_stand_side_by_side_with_what_each_needs(as_member, model):
    table = opened(as_member, model).split("What each variant needs")[1].split("</table>")[0]
    assert re.findall(r'<th scope="col" class="num">(\d+k)</th>', table) == ["4k", "8k", "32k", "128k"]
    large, small = table.split("<tbody>")[1].split("</tr>")[:2]
    assert (LARGE in large, SMALL in small) == (True, True)
    assert ("rule of thumb" in words(large), "header" in words(small)) == (True, True)
    assert len(re.findall(r"VRAM at \d+k.*?\d GiB", small)) == 4


def test_the_list_shows_the_grade_of_the_evidence(as_member, model, rows):
    measured(Variant.objects.get(name=SMALL), rows)
    measured(Variant.objects.get(name=SMALL), rows, is_outlier=True)
    page = words(as_member.get("/models/").content.decode())
    assert re.search(rf"{SMALL} .*? header \+ 1 load ", page)
    assert re.search(rf"{LARGE} .*? rule of thumb ", page)


def test_loads_are_shown_with_how_far_the_estimate_was_off(as_member, model, rows):
    small = Variant.objects.get(name=SMALL)
    measured(small, rows)
    measured(small, rows, is_outlier=True, outlier_reason="Other processes moved 2.0 GiB meanwhile.")
    page = opened(as_member, model)
    assert "6.2 GiB +4.2 % header" in words(page)
    assert "Other processes moved 2.0 GiB meanwhile." in page
    assert len(re.findall(r'<circle class="seen"', page)) == 1
    assert len(re.findall(r'<circle class="seen odd"', page)) == 1


def test_one_load_is_a_row_and_no_chart(as_member, model, rows):
    measured(Variant.objects.get(name=SMALL), rows)
    page = opened(as_member, model)
    assert "1 measured load" in words(page)
    assert "<circle" not in page


def test_what_if_starts_with_a_modest_context_on_a_gpu_that_is_there(as_member, model):
    said = words(opened(as_member, model))
    assert "8k context" in said
    assert "endpoint-" in said
    assert "to spare beside the headroom" in said


def test_without_javascript_the_form_leads_to_the_same_page_with_the_answer(as_member, model):
    small = Variant.objects.get(name=SMALL)
    page = opened(as_member, model, {"variant": small.pk, "context": "32768", "slots": "2"})
    assert "32k context × 2 slots" in words(page)
    assert "KV cache 8.0 GiB" in words(page)
    assert re.search(r'name="context"[^>]*value="32768"', page)
    assert '<button class="btn">Show</button>' in page


def test_a_moved_slider_gets_the_answer_alone(as_member, model):
    page = opened(as_member, model, {"context": "4096"}, **ANSWER_ONLY)
    assert page.count("<div") == 1
    assert "4k context" in words(page)
    assert "<html" not in page


def test_what_does_not_fit_says_how_much_would(as_member, model, rows):
    small = Variant.objects.get(name=SMALL)
    record(rows, used_bytes=18 * GIB)
    said = words(opened(as_member, model, {"variant": small.pk, "context": "8192"}, **ANSWER_ONLY))
    assert re.search(r"Does not fit: \d+ of 33 layers would", said)
    assert "all of it would after unloading mistral:7b" in said


def test_a_model_that_is_loaded_is_not_counted_twice(as_member, model, rows):
    rows.loaded.name = SMALL
    rows.loaded.save()
    small = Variant.objects.get(name=SMALL)
    said = words(opened(as_member, model, {"variant": small.pk, "context": "8192"}, **ANSWER_ONLY))
    assert "Fits" in said
    assert said.count(SMALL) == 0


@pytest.mark.parametrize("nonsense", ["", "x", "-5", "0", "9" * 30, "٣", "1e3"])
def test_nonsense_is_answered_by_the_nearest_sense(as_member, model, nonsense):
    query = {"variant": nonsense, "spot": nonsense, "context": nonsense, "slots": nonsense}
    assert "context" in words(opened(as_member, model, query, **ANSWER_ONLY))


def test_a_gpu_that_is_not_measured_says_so(as_member, model):
    LatestSample.objects.all().delete()
    assert "is not measured now" in opened(as_member, model, **ANSWER_ONLY)


def test_a_model_without_variants_is_a_page_all_the_same(as_member, db):
    assert "No variants" in opened(as_member, CatalogModel.objects.create(name="empty"))


def test_a_measured_speed_is_shown_beside_what_it_takes(as_member, model):
    SpeedMeasurementFactory(variant=Variant.objects.get(name=SMALL), gpu_share=0.5, tokens_per_second=7.25)
    page = words(opened(as_member, model))
    assert "Measured speed 7.2 tok/s" in page
    assert "NVIDIA GeForce RTX 4090 50 % 8k 7.2 tok/s" in page


def test_only_a_loaded_model_that_writes_can_be_measured_and_only_by_admins(as_admin, as_member, model, rows):
    rows.endpoint.capabilities = [*rows.endpoint.capabilities, "generate"]
    rows.endpoint.save()
    assert "Measure speed" not in opened(as_admin, model)
    LoadedModelFactory(endpoint=rows.endpoint, name=SMALL)
    assert opened(as_admin, model).count("Measure speed") == 1
    assert "Measure speed" not in opened(as_member, model)


@pytest.mark.parametrize(
    ("mode", "said"),
    [("router", "Load it once: its size is then known"), ("ollama", "the endpoint is asked again every minute")],
)
def test_a_variant_of_which_nothing_is_known_says_why_and_what_would_help(as_member, model, rows, mode, said):
    rows.endpoint.mode = mode
    rows.endpoint.save()
    Variant.objects.filter(name=LARGE).update(file_size_bytes=0, parameter_count=None, layer_count=None)
    page = words(opened(as_member, model))
    assert f"{LARGE} : " in page
    assert said in page
    assert "nothing yet: why?" in words(as_member.get("/models/").content.decode())


def test_a_variant_that_is_installed_nowhere_has_nobody_to_ask(as_member, model, rows):
    Variant.objects.filter(name=LARGE).update(file_size_bytes=0, parameter_count=None, layer_count=None)
    rows.endpoint.installations.filter(name=LARGE).delete()
    assert "nobody can be asked" in words(opened(as_member, model))


def test_the_chart_shows_loads_in_percent_of_their_estimates_whatever_their_context(as_member, model, rows):
    small = Variant.objects.get(name=SMALL)
    measured(small, rows, context_length=4096, predicted_bytes=10 * GIB, measured_bytes=int(10.4 * GIB))
    measured(small, rows, context_length=65_536, predicted_bytes=20 * GIB, measured_bytes=20 * GIB)
    page = opened(as_member, model)
    first, second = (float(y) for y in re.findall(r'<circle class="seen" cx="[\d.]+" cy="([\d.]+)"', page))
    zero = float(re.findall(r'<line class="zero"[^>]*y1="([\d.]+)"', page)[0])
    assert second == zero
    assert first < zero, "more than estimated is drawn above it"
    assert "+5 %" in words(page)
    assert "4k context: measured 10.4 GiB, 4.0 % beside the estimate" in page
