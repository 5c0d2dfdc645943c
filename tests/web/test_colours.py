"""The colours of models on a host: their own where they can, and never the same twice on one GPU."""

from __future__ import annotations

import pytest

from models_app.operations.fleet import fleet
from models_app.operations.fleet_view import HostView
from models_app.web.colours import COLOURS, host_colours
from tests.factories import (
    GIB,
    EndpointFactory,
    GpuFactory,
    HostFactory,
    InstallationFactory,
    LoadedModelFactory,
    VariantFactory,
)
from tests.web.fleet_rows import small_fleet


def host_with(*hues: list[int]) -> HostView:
    """A host with a GPU for each list of variants' numbers, loaded in that order."""
    host = HostFactory()
    endpoint = EndpointFactory(host=host)
    for on_gpu in hues:
        gpu = GpuFactory(host=host)
        for hue in on_gpu:
            variant = VariantFactory(pk=hue, name=f"model-{hue}")
            InstallationFactory(variant=variant, endpoint=endpoint, name=variant.name)
            LoadedModelFactory(endpoint=endpoint, name=variant.name, gpu_bytes={gpu.uuid: GIB})
    return next(view for view in fleet().hosts if view.id == host.pk)


@pytest.mark.django_db
def test_a_model_has_its_own_colour():
    assert host_colours(host_with([7], [20])) == {7: 7 % COLOURS, 20: 20 % COLOURS}


@pytest.mark.django_db
def test_the_model_that_was_there_first_keeps_a_colour_that_two_want():
    later, first = 5, 5 + COLOURS
    assert host_colours(host_with([first, later])) == {first: 5, later: 6}


@pytest.mark.django_db
def test_more_models_than_colours_repeat_one_only_across_gpus():
    every_colour = list(range(1, COLOURS + 1))
    colours = host_colours(host_with(every_colour, [COLOURS + 1, COLOURS + 2]))
    assert len({colours[hue] for hue in every_colour}) == COLOURS
    assert colours[COLOURS + 1] != colours[COLOURS + 2]


@pytest.mark.django_db
def test_the_bar_and_the_list_agree_on_the_colour(as_admin):
    small_fleet()
    page = as_admin.get("/").content.decode()
    in_list = page.split('id="loaded-')[0].rsplit('<li class="', 1)[1].split('"')[0]
    assert f'height="28" class="{in_list}"' in page
