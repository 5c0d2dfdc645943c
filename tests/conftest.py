"""Fixtures that every folder shares; the larger ones live in ``tests/fixtures``."""

from __future__ import annotations

from importlib.util import find_spec

PLUGINS = ("tests.fixtures.simulators", "tests.fixtures.nvml", "tests.fixtures.real_servers", "tests.fixtures.people")
pytest_plugins = [name for name in PLUGINS if find_spec(name)]
