"""Fixtures that every folder shares; the larger ones live in ``tests/fixtures``."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from hypothesis import settings

# The same examples in every run, however slow the machine.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

PLUGINS = (
    "tests.fixtures.database",
    "tests.fixtures.simulators",
    "tests.fixtures.nvml",
    "tests.fixtures.real_servers",
    "tests.fixtures.managed",
    "tests.fixtures.people",
    "tests.fixtures.services",
    "tests.fixtures.networks",
    "tests.fixtures.panels",
    "tests.fixtures.browser",
    "tests.fixtures.agents",
)
pytest_plugins = [name for name in PLUGINS if find_spec(name)]

DATABASE_FIXTURES = {"db", "transactional_db"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the database, so that these alone are repeated on PostgreSQL."""
    for item in items:
        if item.get_closest_marker("django_db") or DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")
