"""A loaded model is made to write a little; how fast it did is kept, and beats the rules of thumb."""

from __future__ import annotations

import pytest

from models_app.accounts.models import AuditEntry
from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Variant
from models_app.estimator.speed import MEASURED, SCALED
from models_app.operations.fit import fit
from models_app.operations.measurements import SpeedMeasurement
from models_app.operations.refusals import RequestRefused
from models_app.simulation.catalogue import CATALOGUE
from tests.operations.conftest import EMBEDDING, SMALL, Stage, log_of

ROUTED = "llama-3.1-8b-instruct-q8_0"


def variant(name: str) -> Variant:
    return Variant.objects.select_related("header").get(installations__name=name)


def test_a_measured_speed_is_kept_with_how_the_model_is_loaded(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192))
    operation = ollama.done("measure_speed", SMALL)
    row = SpeedMeasurement.objects.get()
    assert (row.variant, row.operation_id, row.token_count) == (variant(SMALL), operation.pk, 64)
    assert (row.gpu_names, row.gpu_share, row.context_length) == ("NVIDIA GeForce RTX 4090", 1.0, 8192)
    assert row.tokens_per_second == pytest.approx(CATALOGUE[SMALL].tokens_per_second, rel=1e-3)
    assert operation.result["tokens_per_second"] == round(row.tokens_per_second, 2)
    assert f"{row.tokens_per_second:.1f} tokens/s" in log_of(operation)[-1]


def test_measuring_leaves_the_model_loaded_as_it_was_and_an_audit_entry(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192, keep_alive_seconds=600))
    loads, used_bytes = ollama.server.loads, ollama.used_bytes()
    ollama.done("measure_speed", SMALL)
    assert (ollama.server.loads, ollama.used_bytes()) == (loads, used_bytes)
    assert AuditEntry.objects.get(action="operation.measure_speed").detail["model"] == SMALL


def test_a_router_is_measured_too(router: Stage) -> None:
    router.done("load", ROUTED)
    router.done("measure_speed", ROUTED)
    row = SpeedMeasurement.objects.get()
    assert row.tokens_per_second == pytest.approx(CATALOGUE[ROUTED].tokens_per_second)
    assert row.gpu_share == 1.0


def test_a_share_in_host_ram_is_kept_with_the_speed(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=4096, gpu_layers=14))
    ollama.done("measure_speed", SMALL)
    row = SpeedMeasurement.objects.get()
    assert 0.3 < row.gpu_share < 0.7
    assert row.tokens_per_second < 0.6 * CATALOGUE[SMALL].tokens_per_second


@pytest.mark.parametrize(("model", "code"), [(EMBEDDING, "embedding_model"), (SMALL, "not_loaded")])
def test_what_writes_nothing_is_refused(ollama: Stage, model: str, code: str) -> None:
    if code == "embedding_model":
        ollama.done("load", EMBEDDING)
    with pytest.raises(RequestRefused) as caught:
        ollama.ask("measure_speed", model)
    assert caught.value.code == code


def test_a_model_of_another_client_is_measured_only_when_confirmed_where_that_could_load_it_anew(ollama: Stage) -> None:
    ollama.thread.run(ollama.server.preload(SMALL))
    ollama.look()
    with pytest.raises(RequestRefused) as caught:
        ollama.ask("measure_speed", SMALL)
    assert caught.value.code == "foreign_model"
    ollama.done("measure_speed", SMALL, confirmed=True)


def test_a_model_that_has_left_meanwhile_fails_the_measurement(ollama: Stage) -> None:
    ollama.done("load", SMALL)
    operation = ollama.ask("measure_speed", SMALL)
    ollama.thread.run(ollama.server.scheduler._remove(ollama.server.scheduler.runners[0]))
    assert ollama.work(operation).error_code == "not_loaded"


def test_the_answer_whether_it_fits_speaks_of_the_measured_speed(ollama: Stage) -> None:
    ollama.done("load", SMALL, LoadOptions(context_length=8192))
    [before] = fit(variant(SMALL), [ollama.endpoint], LoadOptions())
    ollama.done("measure_speed", SMALL)
    [after] = fit(variant(SMALL), [ollama.endpoint], LoadOptions())
    [partly] = fit(variant(SMALL), [ollama.endpoint], LoadOptions(gpu_layers=14))
    assert before.speed is None
    assert after.speed
    assert partly.speed
    assert (after.speed.evidence, partly.speed.evidence) == (MEASURED, SCALED)
    assert partly.speed.tokens_per_second == pytest.approx((after.speed.tokens_per_second or 0) * partly.speed.factor)
