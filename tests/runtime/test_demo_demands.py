"""The demo's demands: they can be read, and speak only of models that its simulated servers have."""

from __future__ import annotations

from models_app.plans.documents import read_yaml
from models_app.runtime.demo import DEMANDS
from models_app.simulation.catalogue import CATALOGUE


def test_every_demand_of_the_demo_names_a_model_of_the_catalogue() -> None:
    specs = read_yaml(DEMANDS.read_text(encoding="utf-8"))
    named = {name for spec in specs for name in (spec.variants or (spec.model,))}
    assert {name for name in named if name not in CATALOGUE and f"{name}:latest" not in CATALOGUE} == set()
