"""``/hardware-tiers``: read by everyone, replaced and reset by admins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models_app.accounts.models import AuditEntry
from models_app.estimator.tiers import DEFAULT_TIERS
from tests.api.conftest import Script
from tests.factories import GpuFactory

ROW = {
    "name": "lab",
    "kind": "vram",
    "from_bytes": 0,
    "to_bytes": None,
    "model_sizes": "8B",
    "quantization": "Q6_K",
    "context_length": 8192,
    "strategy": "All together",
    "note": "",
}


def send(script: Script, method: str, body: Any = None) -> Any:
    headers = script._headers()
    return script.client.generic(method, "/api/v1/hardware-tiers", json.dumps(body), "application/json", headers=headers)


def test_the_shipped_table_is_told(reader: Script) -> None:
    told = reader.get("hardware-tiers").json()
    assert not told["is_edited"]
    assert [row["name"] for row in told["tiers"]] == [tier.name for tier in DEFAULT_TIERS]


def test_a_writer_replaces_and_resets_it(writer: Script) -> None:
    told = send(writer, "PUT", {"tiers": [ROW]})
    assert told.status_code == 200, told.content
    assert told.json() == {"is_edited": True, "tiers": [ROW]}
    host = GpuFactory().host
    assert writer.get(f"hosts/{host.pk}").json()["tier"] == "lab"
    assert send(writer, "DELETE").json()["is_edited"] is False
    assert list(AuditEntry.objects.filter(action__startswith="tiers.").values_list("action", flat=True)) == [
        "tiers.reset",
        "tiers.change",
    ]


def test_a_reader_changes_nothing(reader: Script) -> None:
    assert send(reader, "PUT", {"tiers": [ROW]}).status_code == 403
    assert send(reader, "DELETE").status_code == 403


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([ROW, ROW], "tiers.1.name"),
        ([ROW, ROW | {"name": "b"}], "tiers.1.from_bytes"),
        ([ROW | {"name": " "}], "tiers.0.name"),
    ],
)
def test_what_makes_no_sense_is_named_by_its_row(writer: Script, rows: list[dict[str, Any]], field: str) -> None:
    answer = send(writer, "PUT", {"tiers": rows})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_tiers")
    assert answer.json()["errors"][0]["field"] == field
