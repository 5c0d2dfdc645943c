"""Advice comes in the order of least harm, each with the bytes that it saves and the speed to expect."""

import pytest

from models_app.estimator.advice import Advice, Remedy, advise, fits, layers_that_fit
from models_app.estimator.header import header_estimate
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.speed import MEASURED, OFFLOAD_PRIOR, SCALED, speed_at_gpu_share, speed_of_quantization
from models_app.estimator.types import Estimate, LoadSettings
from tests.tools.model_shapes import header_of

GIB = 1024**3
SHAPE = read_shape(header_of("llama-3.1-8b"))
SETTINGS = LoadSettings(context_length=32768)


def estimate(settings: LoadSettings) -> Estimate:
    return header_estimate(SHAPE, settings)


def advice(free_bytes: int, **more: object) -> dict[Remedy, Advice]:
    found = advise(estimate, SETTINGS, SHAPE.layer_count, [free_bytes], quantization="Q4_K_M", **more)  # type: ignore[arg-type]
    return {item.remedy: item for item in found}


def test_every_remedy_is_offered_in_the_order_of_least_harm() -> None:
    assert list(advice(8 * GIB)) == list(Remedy)


def test_what_is_saved_is_the_difference_of_two_estimates() -> None:
    now = estimate(SETTINGS).vram_bytes
    for item in advice(8 * GIB).values():
        assert item.saved_bytes == now - item.vram_bytes > 0
        if item.remedy is not Remedy.QUANTIZATION:
            assert item.vram_bytes == estimate(item.settings).vram_bytes
        assert item.fits == (item.vram_bytes <= 8 * GIB)


def test_the_longest_context_that_fits_is_advised() -> None:
    item = advice(8 * GIB)[Remedy.CONTEXT]
    assert item.fits
    assert not fits(estimate(LoadSettings(context_length=2 * item.settings.context_length)), [8 * GIB])


def test_a_quantisation_that_fits_is_named() -> None:
    free_bytes = estimate(SETTINGS).vram_bytes - 10**9
    item = advice(free_bytes)[Remedy.QUANTIZATION]
    assert (item.quantization, item.fits) == ("Q3_K_M", True)


def test_as_many_layers_as_fit_are_put_on_the_gpu() -> None:
    count = layers_that_fit(estimate, SETTINGS, SHAPE.layer_count, [6 * GIB])
    assert 0 < count < SHAPE.layer_count + 1
    assert fits(estimate(LoadSettings(context_length=32768, gpu_layers=count)), [6 * GIB])
    assert not fits(estimate(LoadSettings(context_length=32768, gpu_layers=count + 1)), [6 * GIB])


def test_all_layers_fit_where_there_is_room_and_none_where_there_is_none() -> None:
    assert layers_that_fit(estimate, SETTINGS, SHAPE.layer_count, [100 * GIB]) == 33
    assert layers_that_fit(estimate, SETTINGS, SHAPE.layer_count, [GIB // 8]) == 0


def test_an_unknown_quantisation_only_loses_its_own_advice() -> None:
    found = advise(estimate, SETTINGS, SHAPE.layer_count, [8 * GIB], quantization="mystery")
    assert [item.remedy for item in found] == list(Remedy)[1:]


def test_a_second_gpu_that_is_needed_but_missing_does_not_fit() -> None:
    two = header_estimate(SHAPE, SETTINGS, gpu_bytes=[GIB, GIB])
    assert not fits(two, [100 * GIB])


@pytest.mark.parametrize(("share", "factor"), [(1.0, 1.0), (0.75, 0.6), (0.5, 0.4), (0.25, 0.2), (0.0, 0.1), (0.875, 0.8)])
def test_the_prior_of_partial_offload_is_the_published_table(share: float, factor: float) -> None:
    speed = speed_at_gpu_share(share)
    assert (round(speed.factor, 6), speed.evidence) == (factor, OFFLOAD_PRIOR)


def test_a_measured_speed_beats_the_prior() -> None:
    speed = speed_at_gpu_share(0.5, {1.0: 40.0, 0.5: 10.0})
    assert (speed.factor, speed.tokens_per_second, speed.evidence) == (0.25, 10.0, MEASURED)


def test_from_one_measured_speed_the_others_follow_by_the_published_table() -> None:
    speed = speed_at_gpu_share(0.5, {1.0: 40.0})
    assert (round(speed.factor, 6), speed.tokens_per_second, speed.evidence) == (0.4, pytest.approx(16.0), SCALED)
    whole = speed_at_gpu_share(1.0, {0.5: 16.0})
    assert (whole.factor, whole.tokens_per_second, whole.evidence) == (1.0, pytest.approx(40.0), SCALED)


def test_a_measured_speed_is_scaled_to_another_quantisation() -> None:
    speed = speed_of_quantization("Q8_0", "Q4_K_M", {1.0: 35.0})
    assert (speed.tokens_per_second, speed.evidence) == (pytest.approx(48.0), SCALED)


def test_a_shorter_context_is_as_fast_as_was_measured() -> None:
    assert advice(8 * GIB, measured={1.0: 41.0})[Remedy.CONTEXT].speed.tokens_per_second == 41.0


def test_a_smaller_quantisation_changes_the_speed_as_published() -> None:
    assert speed_of_quantization("Q8_0", "Q4_K_M").factor == pytest.approx(48 / 35)
    assert speed_of_quantization("Q8_0", "IQ2_XXS").factor == 1.0
