"""The README tells the truth about the configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlpanel.environment import DECLARED, Variable

README = (Path(__file__).parent.parent / "README.md").read_text()
ROWS = {name: (default, meaning) for name, default, meaning in re.findall(r"\| `(\w+)` \| (.*?) ?\| (.*?) \|\n", README)}


@pytest.mark.parametrize("variable", DECLARED.values(), ids=lambda variable: variable.name)
def test_every_setting_stands_in_the_table_with_its_meaning(variable: Variable) -> None:
    assert ROWS[variable.name][1] == variable.meaning


@pytest.mark.parametrize("variable", DECLARED.values(), ids=lambda variable: variable.name)
def test_the_table_gives_the_default(variable: Variable) -> None:
    assert ROWS[variable.name][0] == (f"`{variable.default}`" if variable.default else "")


def test_the_table_names_no_setting_that_is_gone() -> None:
    assert set(ROWS) == set(DECLARED)
