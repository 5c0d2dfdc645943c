"""Several models together: what stays, what takes turns, and the links that do it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from models_app.catalog.models import Variant
from models_app.telemetry.models import LatestSample
from tests.factories import GIB, InstallationFactory, VariantFactory
from tests.web.fleet_rows import SmallFleet, small_fleet


@pytest.fixture
def rows(db) -> SmallFleet:
    return small_fleet()


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def asked(client: Client, *names: str, **fields: Any) -> str:
    chosen = [Variant.objects.get(name=name).pk for name in names]
    answer = client.get("/models/together/", {"variant": chosen} | fields)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_without_a_choice_it_teaches(as_member, rows):
    assert "Choose two or more models" in asked(as_member)


def test_without_any_model_it_says_what_it_is_for(as_member, db):
    assert "No model is installed yet" in asked(as_member)


def test_what_fits_is_kept_at_once_with_links_that_load_it_so(as_admin, rows):
    page = asked(as_admin, "llama3.1:8b", "phi4:14b", context_length="4096")
    assert '<h2 id="advice-title">All at once</h2>' in page
    assert words(page).count("keep it loaded") == 2
    link = re.search(r'href="(/load/[^"]+phi4[^"]+)"', page)
    assert link
    assert "context_length=4096" in link[1]
    assert "keep_alive=forever" in link[1]
    form = as_admin.get(link[1]).content.decode()
    assert 'value="4096"' in form
    assert 'value="forever"' in form


def test_what_does_not_fit_takes_turns_and_every_alternative_has_its_figures(as_member, rows):
    large = VariantFactory(file_size_bytes=17 * GIB, name="large:1")
    InstallationFactory(endpoint=rows.endpoint, variant=large)
    page = asked(as_member, "llama3.1:8b", "large:1", patience="600")
    said = words(page)
    assert "Together they would need" in said
    assert said.count("load on demand") == 2
    assert re.search(r"All at once [\d.]+ GiB does not fit, [\d.]+ GiB missing", said)
    assert re.search(r"One at a time, swapped on demand advised [\d.]+ GiB fits", said)
    assert "Load…" not in said, "members see, admins act"


def test_a_model_that_is_elsewhere_is_to_be_pulled(as_admin, rows):
    elsewhere = InstallationFactory(name="elsewhere:1", variant=VariantFactory(name="elsewhere:1"))
    page = asked(as_admin, "elsewhere:1", where=str(rows.host.pk))
    assert "not installed there" in page
    assert f"/models/pull/?model=elsewhere%3A1&endpoint={rows.endpoint.pk}" in page
    assert elsewhere.endpoint.host != rows.host


def test_a_machine_that_is_not_measured_says_so(as_member, rows):
    LatestSample.objects.all().delete()
    assert "is not measured now" in asked(as_member, "llama3.1:8b")


@pytest.mark.parametrize(
    "nonsense",
    [{"where": "x"}, {"context_length": "0"}, {"patience": "soon"}, {"variant": "0"}, {"context_length": "9" * 30}],
)
def test_nonsense_is_named_beside_its_field_and_nothing_typed_is_lost(as_member, rows, nonsense):
    page = asked(as_member, "llama3.1:8b", **nonsense)
    assert 'class="error"' in page
    assert "advice-title" not in page


def test_the_catalog_leads_here_with_what_is_ticked(as_member, rows):
    page = as_member.get("/models/").content.decode()
    assert '<form id="together" method="get" action="/models/together/">' in page
    assert len(re.findall(r'<input type="checkbox" class="pick" form="together" name="variant"', page)) == 2
