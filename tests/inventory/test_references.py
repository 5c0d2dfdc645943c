"""The id that a text spells."""

from __future__ import annotations

import pytest

from models_app.inventory.references import MOST_ID, row_id


def test_a_whole_number_is_an_id():
    assert row_id("12") == 12
    assert row_id(str(MOST_ID)) == MOST_ID


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", " 1", "²", "٣", "1e3", str(MOST_ID + 1), "9" * 5000])
def test_what_no_row_could_have_is_0(text):
    assert row_id(text) == 0
