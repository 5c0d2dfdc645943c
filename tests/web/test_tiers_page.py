"""What suits which hardware: seen by members, edited and reset by admins."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from models_app.accounts.models import AuditEntry
from models_app.catalog.models import Variant
from models_app.catalog.tiers import is_edited, tiers
from models_app.estimator.tiers import DEFAULT_TIERS
from tests.web.fleet_rows import small_fleet

pytestmark = pytest.mark.django_db
COUNT = len(DEFAULT_TIERS)


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(page)).split())


def filled(client: Any, **changes: str) -> dict[str, str]:
    """The edit form as it is shown, as a browser would send it."""
    page = client.get("/models/hardware/edit/").content.decode()
    inputs = re.findall(r"<input (?=[^>]*name=\"(form-[^\"]+)\")(?![^>]*checkbox)[^>]*>", page)
    values = {name: unescape((re.search(rf'name="{name}"[^>]*value="([^"]*)"', page) or ["", ""])[1]) for name in inputs}
    kinds = {
        name: (re.search(r'value="(\w+)" selected', body) or ["", "vram"])[1]
        for name, body in re.findall(r'<select name="(form-\d+-kind)"[^>]*>(.*?)</select>', page, re.DOTALL)
    }
    return values | kinds | changes


def test_every_tier_stands_under_its_kind_and_the_own_machine_is_marked(as_member):
    fleet = small_fleet()
    page = as_member.get("/models/hardware/").content.decode()
    said = words(page)
    for heading in ("VRAM of all GPUs", "RAM, no GPU", "Unified memory"):
        assert heading in said
    assert f"24 GB GPU {fleet.host.name} 24 to 48 GiB" in said
    assert "/models/hardware/edit/" not in page


def test_the_hosts_page_and_an_empty_catalog_say_what_suits_the_machine(as_member):
    fleet = small_fleet()
    assert "Suits 24 GB GPU : 34B, or two or three 7B in Q4_K_M, 4k context." in words(
        as_member.get("/hosts/").content.decode()
    )
    fleet.endpoint.installations.all().delete()
    Variant.objects.all().delete()
    said = words(as_member.get("/models/").content.decode())
    assert f"{fleet.host.name} ( 24 GB GPU ): 34B" in said


def test_sending_the_form_as_it_is_changes_nothing(as_admin):
    answer = as_admin.post("/models/hardware/edit/", filled(as_admin))
    assert answer.status_code == 302
    assert not is_edited()


def test_rows_are_changed_removed_and_added_at_once(as_admin):
    new = {"name": "lab", "from_gib": "512", "to_gib": "", "model_sizes": "405B", "quantization": "Q4_K_M"}
    new |= {"context_length": "8192", "strategy": "One at a time", "kind": "cpu_only"}
    changes = {f"form-{COUNT}-{name}": value for name, value in new.items()}
    changes |= {"form-9-to_gib": "512", "form-0-DELETE": "on", "form-1-quantization": "Q5_K_S"}
    answer = as_admin.post("/models/hardware/edit/", filled(as_admin, **changes))
    assert answer.status_code == 302, words(answer.content.decode())
    table = {tier.name: tier for tier in tiers()}
    assert DEFAULT_TIERS[0].name not in table
    assert table[DEFAULT_TIERS[1].name].quantization == "Q5_K_S"
    assert table["lab"].from_bytes == 512 * 1024**3
    assert AuditEntry.objects.get(action="tiers.change").detail["added"] == ["lab"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"form-0-name": ""}, "This field is required."),
        ({"form-0-from_gib": "9"}, "More than where the range begins"),
        ({"form-1-to_gib": "40"}, "Its range overlaps that of"),
    ],
)
def test_what_is_wrong_is_said_beside_it_and_what_was_typed_is_kept(as_admin, changes, said):
    answer = as_admin.post("/models/hardware/edit/", filled(as_admin, **changes, **{"form-2-note": "typed by hand"}))
    assert answer.status_code == 422
    assert said in words(answer.content.decode())
    assert "typed by hand" in answer.content.decode()
    assert not is_edited()


def test_a_reset_asks_first(as_admin):
    as_admin.post("/models/hardware/edit/", filled(as_admin, **{"form-0-note": "ours"}))
    assert is_edited()
    assert "Every row that was added or changed here is lost" in as_admin.get("/models/hardware/reset/").content.decode()
    assert is_edited()
    as_admin.post("/models/hardware/reset/", {"confirmed": "1"})
    assert not is_edited()
