"""Fixtures that every folder shares; the larger ones live in ``tests/fixtures``."""

from __future__ import annotations

from importlib.util import find_spec

from hypothesis import settings

# The same examples in every run, however slow the machine.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

PLUGINS = (
    "tests.fixtures.simulators",
    "tests.fixtures.nvml",
    "tests.fixtures.real_servers",
    "tests.fixtures.managed",
    "tests.fixtures.people",
    "tests.fixtures.services",
    "tests.fixtures.panels",
    "tests.fixtures.browser",
    "tests.fixtures.agents",
)
pytest_plugins = [name for name in PLUGINS if find_spec(name)]
