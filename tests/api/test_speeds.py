"""``/speeds``, and what a measured speed changes in the answer of ``POST /fit``."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.catalog.models import Installation
from tests.api.conftest import Script
from tests.api.test_fit import GIB, ask, machine, place
from tests.factories import InstallationFactory, SpeedMeasurementFactory, VariantFactory

__all__ = ["machine", "place"]
CARD = "NVIDIA RTX A5000"
LONG = {"context_length": 131_072}


def endpoint_of(script: Script, **options: Any) -> dict[str, Any]:
    endpoint: dict[str, Any] = ask(script, options=options)["endpoints"][0]
    return endpoint


def test_measurements_are_listed_the_newest_first(reader: Script) -> None:
    older, newer = SpeedMeasurementFactory(), SpeedMeasurementFactory(gpu_names="")
    listed = reader.get("speeds").json()
    assert [row["id"] for row in listed["items"]] == [newer.pk, older.pk]
    assert listed["items"][1]["model"] == older.variant.name
    assert listed["items"][1]["endpoint"] is None
    assert reader.get("speeds", model_id=older.variant_id).json()["total"] == 1


def test_a_measured_speed_is_the_speed_of_the_load(reader: Script, place: Installation) -> None:
    assert endpoint_of(reader, context_length=8192)["speed"] is None
    SpeedMeasurementFactory(variant=place.variant, gpu_names=CARD)
    speed = endpoint_of(reader, context_length=8192)["speed"]
    assert speed == {"tokens_per_second": 41.3, "factor": 1.0, "evidence": "measured tokens/s"}


@pytest.mark.parametrize("other", [{"gpu_names": "NVIDIA H100"}, {"backend_kind": "llama_server"}])
def test_a_speed_of_another_card_or_program_says_nothing_here(
    reader: Script, place: Installation, other: dict[str, str]
) -> None:
    SpeedMeasurementFactory(variant=place.variant, **{"gpu_names": CARD} | other)
    assert endpoint_of(reader, context_length=8192)["speed"] is None


def test_the_advice_is_scaled_from_what_was_measured(reader: Script, place: Installation) -> None:
    SpeedMeasurementFactory(variant=place.variant, gpu_names=f"{CARD}, NVIDIA T4", tokens_per_second=40.0)
    advice = {each["remedy"]: each for each in endpoint_of(reader, **LONG)["advice"]}
    layers = advice["layers"]
    assert layers["speed_evidence"] == "measured tokens/s, scaled by the published table"
    assert layers["tokens_per_second"] == pytest.approx(40 * layers["speed_factor"])
    assert advice["context"]["tokens_per_second"] == 40.0


def test_an_installed_smaller_quantisation_is_offered_instead(reader: Script, place: Installation) -> None:
    variant = place.variant
    smaller = {"model": variant.model, "quantization": "Q3_K_M", "file_size_bytes": 4 * GIB}
    sibling = InstallationFactory(endpoint=place.endpoint, variant=VariantFactory(**smaller))
    InstallationFactory(endpoint=place.endpoint, variant=VariantFactory(**smaller, parameter_count=1_000_000_000))
    [offered] = endpoint_of(reader, **LONG)["instead"]
    assert (offered["model"], offered["model_id"]) == (sibling.name, sibling.variant_id)
    assert offered["quantization"] == "Q3_K_M"
    assert offered["needed_bytes"] > 4 * GIB
    assert endpoint_of(reader, context_length=8192)["instead"] == []


def test_a_sibling_that_was_measured_says_so(reader: Script, place: Installation) -> None:
    smaller = VariantFactory(model=place.variant.model, quantization="Q3_K_S", file_size_bytes=3 * GIB)
    InstallationFactory(endpoint=place.endpoint, variant=smaller)
    for variant, speed in ((place.variant, 40.0), (smaller, 60.0)):
        SpeedMeasurementFactory(variant=variant, gpu_names=f"{CARD}, NVIDIA T4", tokens_per_second=speed)
    [offered] = endpoint_of(reader, **LONG)["instead"]
    assert (offered["tokens_per_second"], offered["speed_evidence"]) == (60.0, "measured tokens/s")
    assert offered["speed_factor"] == pytest.approx(1.5)
