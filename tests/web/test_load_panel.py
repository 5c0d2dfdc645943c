"""The load form's answer in full: terms, evidence, the room on each device, whom to evict, and what else would help."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from html import unescape
from typing import Any

import pytest
from django.test import Client

from models_app.backends.protocol import LoadOptions
from models_app.catalog.headers import FoundHeader, record_headers
from models_app.catalog.models import Variant, VariantHeader
from models_app.gguf.ollama_show import header_from_show
from models_app.inventory.models import Residency
from models_app.operations.facts import installed_subject
from models_app.operations.measurements import LoadMeasurement
from models_app.operations.subject import settings_key
from models_app.simulation.catalogue import CATALOGUE
from models_app.simulation.ollama_describe import show
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack, unpack
from tests.factories import (
    GIB,
    EndpointFactory,
    GpuFactory,
    InstallationFactory,
    SpeedMeasurementFactory,
    VariantFactory,
)
from tests.web.fleet_rows import SmallFleet, record, small_fleet

MODEL = "phi4:14b"


@pytest.fixture
def rows(db) -> SmallFleet:
    return small_fleet()


@pytest.fixture
def header(rows: SmallFleet) -> Variant:
    """The model's header is known: that of a plain model of 8 billion weights, 4.6 GiB."""
    header = header_from_show(show(CATALOGUE["llama3.1:8b"], verbose=False))
    record_headers(rows.endpoint.pk, {MODEL: FoundHeader(header, "", VariantHeader.Source.ENDPOINT)})
    return Variant.objects.get(name=MODEL)


def asked(client: Client, rows: SmallFleet, **fields: Any) -> str:
    answer = client.get("/load/", {"endpoint": rows.endpoint.pk, "model": MODEL} | fields)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def link_of(page: str, word: str) -> str:
    """The address behind the first link that begins with a word."""
    return next(address for address, text in re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)', page) if text.startswith(word))


def test_nothing_is_chosen_for_anybody(as_admin, rows):
    page = as_admin.get("/").content.decode()
    assert '<option value="" selected>Choose a model…</option>' in page
    assert 'class="fit' not in page
    assert ">Load</button>" not in page


def test_a_swap_begins_with_what_is_to_go(as_admin, rows):
    page = as_admin.get("/load/", {"kind": "swap", "endpoint": rows.endpoint.pk, "unload": rows.loaded.pk}).content.decode()
    assert f'value="{rows.loaded.pk}"' in page
    assert "checked" in page
    assert "Choose a model…" in page


def test_the_place_where_the_model_is_not_loaded_yet_comes_first(as_admin, rows):
    elsewhere = EndpointFactory(host=rows.host)
    InstallationFactory(endpoint=elsewhere, variant=Variant.objects.get(name="llama3.1:8b"), name="llama3.1:8b")
    page = as_admin.get("/load/", {"model": "llama3.1:8b"}).content.decode()
    assert f'<option value="{elsewhere.pk}" selected>' in page


def test_a_rule_of_thumb_says_that_it_is_one(as_admin, rows):
    said = words(asked(as_admin, rows))
    assert "A rule of thumb from the size and the shape, ±" in said
    assert "buffers and driver context" in said


def test_a_header_gives_every_term_with_its_band(as_admin, rows, header):
    said = words(asked(as_admin, rows, context_length="8192"))
    for term in ("weights", "KV cache, 8k context 1.0 GiB", "compute buffers", "driver context", "together, ±"):
        assert term in said
    assert "From the file's header, ±" in said
    assert "GPU 0 16.5 GiB free now" in said
    assert "to spare beside the headroom" in said
    assert "What would help" not in said


def test_a_model_on_two_gpus_has_a_column_for_each(as_admin, rows, header):
    second = GpuFactory(host=rows.host, index=1)
    sample = record(rows, used_bytes=19 * GIB)
    copy = replace(sample.gpus[0], uuid=second.uuid, index=1)
    newest = LatestSample.objects.get()
    newest.payload = pack(replace(sample, gpus=(*sample.gpus, copy)), unpack(newest.payload)[1])
    newest.save()
    page = asked(as_admin, rows, context_length="8192")
    assert '<th scope="col">GPU 0</th><th scope="col">GPU 1</th>' in page
    assert "on GPU 0 and GPU 1" in page


def measured(rows: SmallFleet, variant: Variant, context_length: int) -> None:
    """A load that was measured before, with these settings on this card."""
    subject = installed_subject(rows.endpoint, MODEL, LoadOptions(context_length=context_length))
    LoadMeasurement.objects.create(
        variant=variant,
        endpoint=rows.endpoint,
        backend_kind=rows.endpoint.kind,
        build_profile=subject.profile.name,
        gpu_names=rows.gpu.name,
        settings=asdict(subject.settings),
        settings_key=settings_key(subject.settings),
        context_length=context_length,
        estimated_bytes=6 * GIB,
        kv_bytes=GIB,
        compute_bytes=GIB // 4,
        grade="header",
        predicted_bytes=6 * GIB,
        predicted_error_bytes=GIB // 8,
        measured_bytes=int(6.1 * GIB),
        verified_by="process",
    )


@pytest.mark.parametrize(
    ("contexts", "said"),
    [([8192, 8192], "and 2 loads here, ±"), ([4096], "and 1 load here with another context, ±")],
)
def test_earlier_loads_are_named_as_evidence(as_admin, rows, header, contexts, said):
    for context_length in contexts:
        measured(rows, header, context_length)
    assert f"From the file's header {said}" in words(asked(as_admin, rows, context_length="8192"))


def test_what_the_server_would_choose_stands_in_the_empty_fields(as_admin, rows, header):
    page = asked(as_admin, rows)
    assert re.search(r'name="context_length"[^>]*placeholder="auto: 32,768"', page)
    assert 'placeholder="5m, forever"' in page


def test_a_full_gpu_names_whom_to_evict_and_leads_to_the_swap(as_admin, rows, header):
    record(rows, used_bytes=18 * GIB)
    page = asked(as_admin, rows, context_length="8192")
    assert "Unloading llama3.1:8b (6.0 GiB) would make room" in words(page)
    assert "11.5 GiB free after unloading llama3.1:8b" in words(page)
    swap = as_admin.get(link_of(page, "swap")).content.decode()
    assert "Swap models" in swap
    assert re.search(rf'value="{rows.loaded.pk}"[^>]* checked', swap)
    assert 'value="8192"' in swap
    assert "Fits:" in swap


def test_a_pinned_model_is_nobody_to_evict(as_admin, rows, header):
    Residency.objects.update(pinned=True)
    record(rows, used_bytes=18 * GIB)
    assert "after unloading" not in words(asked(as_admin, rows, context_length="8192"))


def test_advice_stands_in_order_with_bytes_and_speed_and_fills_in_the_form(as_admin, rows, header):
    record(rows, used_bytes=18 * GIB)
    page = asked(as_admin, rows, context_length="32768")
    said = words(page).split("What would help, mildest first")[1]
    remedies = (r"Use I?Q\d", r"Use a context", r"Use micro-batches", r"Put \d+ of 33 layers", r"Keep the KV cache")
    found = [re.search(remedy, said) for remedy in remedies]
    order = [match.start() for match in found if match]
    assert len(order) == len(remedies), said
    assert order == sorted(order)
    assert "saves" in said
    assert "× the speed" in said
    assert "rule of thumb: published offload table" in said
    shorter = as_admin.get(link_of(page, "Use a context")).content.decode()
    tokens = re.search(r"Use a context of ([\d,]+)", said)
    assert tokens
    assert f'value="{tokens[1].replace(",", "")}"' in shorter


def test_as_many_layers_as_fit_are_a_click_away(as_admin, rows, header):
    record(rows, used_bytes=18 * GIB)
    page = asked(as_admin, rows, context_length="8192")
    layers = re.search(r"(\d+) of 33 layers fit", words(page))
    assert layers
    fewer = as_admin.get(link_of(page, f"load {layers[1]}"))
    assert "Fits:" in fewer.content.decode()


def test_a_name_that_is_a_path_is_listed_by_its_file(as_admin, rows):
    path = "/srv/models/qwen3-8b-q4_k_m.gguf"
    InstallationFactory(endpoint=rows.endpoint, name=path)
    page = as_admin.get("/").content.decode()
    assert f'<option value="{path}">qwen3-8b-q4_k_m.gguf</option>' in page


def test_two_paths_to_files_of_one_name_are_told_apart(as_admin, rows):
    for folder in ("a", "b"):
        InstallationFactory(endpoint=rows.endpoint, name=f"/srv/{folder}/same.gguf")
    page = as_admin.get("/").content.decode()
    assert ">/srv/a/same.gguf</option>" in page
    assert ">same.gguf</option>" not in page


def test_a_smaller_variant_that_is_installed_can_be_loaded_instead(as_admin, rows, header):
    record(rows, used_bytes=18 * GIB)
    variant = Variant.objects.get(name=MODEL)
    smaller = VariantFactory(model=variant.model, name="phi4:14b-q2", quantization="Q2_K", file_size_bytes=GIB)
    InstallationFactory(endpoint=rows.endpoint, variant=smaller)
    page = asked(as_admin, rows, context_length="8192")
    assert "Load phi4:14b-q2 instead , the same model in Q2_K: installed here." in words(page)
    instead = as_admin.get(link_of(page, "Load phi4:14b-q2 instead")).content.decode()
    assert re.search(r'<option value="phi4:14b-q2" selected>', instead)
    assert 'value="8192"' in instead


def test_a_measured_speed_stands_in_place_of_the_rule_of_thumb(as_admin, rows, header):
    SpeedMeasurementFactory(variant=Variant.objects.get(name=MODEL))
    assert "Speed as asked for: measured 41 tok/s" in words(asked(as_admin, rows, context_length="8192"))
    record(rows, used_bytes=18 * GIB)
    said = words(asked(as_admin, rows, context_length="8192"))
    assert re.search(r"Put \d+ of 33 layers on the GPU\. .*? × the speed, some \d+", said)
    assert "measured tokens/s, scaled by the published table" in said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("6", "20m is advised: Twice the usual 10 min between requests, within 5 to 30 minutes."),
        ("0,5", "5m is advised: Asked too seldom"),
        ("0", "Unloading it is advised: Nobody asks for it."),
    ],
)
def test_a_keep_alive_is_advised_from_the_requests_an_hour(as_admin, rows, header, typed, said):
    assert said in words(asked(as_admin, rows, requests_per_hour=typed))


def test_the_advised_keep_alive_is_a_click_away_and_forgets_nothing(as_admin, rows, header):
    page = asked(as_admin, rows, requests_per_hour="6", context_length="8192")
    filled = as_admin.get(link_of(page, "Use 20m")).content.decode()
    for name, value in (("keep_alive", "20m"), ("requests_per_hour", "6"), ("context_length", "8192")):
        assert re.search(rf'name="{name}"[^>]*value="{value}"', filled)
    assert ">Use 20m</a>" not in filled


@pytest.mark.parametrize("typed", ["", "often", "-1", "nan", "inf", "1e9"])
def test_without_a_number_of_requests_nothing_is_advised(as_admin, rows, header, typed):
    assert "is advised" not in asked(as_admin, rows, requests_per_hour=typed)


def test_a_model_in_memory_already_is_said_to_be(as_admin, rows):
    said = words(asked(as_admin, rows, model=rows.loaded.name))
    assert "It is in memory there already, with 8k context." in said
    assert "in memory there already" not in words(asked(as_admin, rows))


def test_a_reload_is_reckoned_with_what_it_gives_back_first(as_admin, rows):
    record(rows, used_bytes=20 * GIB)
    assert "Does not fit" in words(asked(as_admin, rows))
    assert "Fits:" in words(asked(as_admin, rows, model=rows.loaded.name, context_length="4096"))
