"""Lets the comparison with recordings show what differs."""

import pytest

pytest.register_assert_rewrite("tests.simulation.recordings")
