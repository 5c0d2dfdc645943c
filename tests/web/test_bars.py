"""The labels in a memory bar."""

from __future__ import annotations

import pytest

from models_app.operations.memory_bar import Segment, SegmentKind
from models_app.web.templatetags.bars import bar_parts


def test_little_is_told_in_words_that_are_no_markup():
    """A page takes a bare “<” for text; who numbers the fragment's elements took what followed for one."""
    part = Segment(kind=SegmentKind.KV, name="phi4:14b", offset_bytes=0, size_bytes=10_000, hue=0)
    assert "<title>phi4:14b: KV cache, by its shape: &lt; 1 MiB</title>" in bar_parts([part], 10**9, {})


def label(name: str, percent: int) -> str:
    part = Segment(kind=SegmentKind.WEIGHTS, name=name, offset_bytes=0, size_bytes=percent, hue=0)
    return bar_parts([part], 100, {}).partition("<text")[2].partition(">")[2].partition("</text>")[0]


@pytest.mark.parametrize(
    ("name", "percent", "shown"),
    [
        ("qwen2.5-coder:14b", 40, "qwen2.5-coder:14b"),
        ("qwen2.5-coder:14b", 10, "qwen2.5-c…"),
        ("phi4:14b", 7, "phi4:…"),
        ("<b>&amp;&amp;&amp;", 7, "&lt;b&gt;&amp;a…"),
        ("phi4:14b", 6, ""),
    ],
)
def test_a_name_is_cut_where_its_segment_has_no_room_for_it(name, percent, shown):
    assert label(name, percent) == shown
