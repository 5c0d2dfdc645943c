"""Patches of fragments: what a page holds after them is what a fresh one would hold."""

from __future__ import annotations

import random
from html.parser import HTMLParser

import pytest
from django.template.loader import get_template

from models_app.operations.fleet import fleet
from models_app.web.patches import Patch, patch
from tests.factories import GIB, EndpointFactory, LoadedModelFactory
from tests.web.fleet_rows import record, small_fleet


class Page(HTMLParser):
    """A fragment as a browser numbers it: elements with their attributes, and texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html.strip())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_text = False

    def handle_endtag(self, tag: str) -> None:
        self._in_text = False

    def handle_data(self, data: str) -> None:
        if self._in_text:
            self.texts[-1] += data
        else:
            self.texts.append(data)
        self._in_text = True

    def handle_entityref(self, name: str) -> None:
        self.handle_data({"amp": "&", "lt": "<", "gt": ">", "quot": '"'}[name])

    def handle_charref(self, name: str) -> None:
        self.handle_data(chr(int(name[1:], 16) if name[0] == "x" else int(name)))

    def apply(self, change: Patch) -> Page:
        assert (len(self.elements), len(self.texts)) == change["size"]
        for place, text in change["texts"]:
            self.texts[place] = text
        for place, name, value in change["attributes"]:
            self.elements[place][1][name.lower()] = value
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Page) and (self.elements, self.texts) == (other.elements, other.texts)


BEFORE = '<li class="op" id="one"><svg x="1%"><rect width="5"/></svg> <b>7.0</b> of 24 <input value="a"></li>'


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("7.0", "8.5"),
        ("7.0", "&lt;b&gt; &amp; &#x27;quoted&#x27;"),
        ('x="1%"', 'x="2&quot;%"'),
        ('class="op"', 'class="op old"'),
        (" of 24 ", " von 12 "),
    ],
)
def test_texts_and_attributes_are_patched(was: str, now: str) -> None:
    after = BEFORE.replace(was, now)
    change = patch(BEFORE, after)
    assert change is not None
    assert Page(BEFORE).apply(change) == Page(after)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("<b>7.0</b>", ""),
        ("<b>7.0</b>", "<b></b>"),
        ("<b>7.0</b>", "<i>7.0</i>"),
        ('class="op"', 'class="op" title="new"'),
        ('class="op" id', "id"),
        ('value="a"', 'value="b"'),
        ('id="one"', 'id="two"'),
        ("7.0", "7\r\n0"),
        ("7.0", "< 1"),
        ("<b>7.0</b>", "7.0<b></b>"),
        ('class="op"', 'hx-get="/a/"'),
    ],
)
def test_more_than_that_replaces_the_fragment(was: str, now: str) -> None:
    assert patch(BEFORE, BEFORE.replace(was, now)) is None


@pytest.mark.django_db
def test_any_sequence_of_hosts_leaves_the_page_of_the_last() -> None:
    """Random samples, with parts that come and go: each patch makes one rendering into the next."""
    rows, chance, patched = small_fleet(), random.Random(4), 0
    LoadedModelFactory(endpoint=EndpointFactory(host=rows.host), gpu_bytes={rows.gpu.uuid: 3 * GIB})
    page, html = None, ""
    is_admin, model_bytes, rest, utilization = True, 6 * GIB, GIB, 5
    for _ in range(80):
        match chance.randrange(20):
            case 0:
                is_admin = not is_admin
            case 1:
                model_bytes = chance.choice([GIB // 3, 2 * GIB, 6 * GIB])
            case 2 | 3:
                rest = chance.choice([0, GIB // 5, GIB, 9 * GIB])
            case 4:
                utilization = chance.choice([None, 7])
        used_bytes = model_bytes + GIB // 2 + rest + chance.randrange(GIB // 20)
        figures = {"utilization_percent": utilization, "temperature_celsius": chance.randrange(40, 90)}
        record(rows, used_bytes=used_bytes, model_bytes=model_bytes, **figures)
        [host] = fleet().hosts
        before, html = html, get_template("fleet/host.html").render({"host": host, "is_admin": is_admin})
        change = patch(before, html)
        if page is not None and change is not None:
            patched += 1
            assert page.apply(change) == Page(html)
        page = Page(html)
    assert 40 < patched < 80
