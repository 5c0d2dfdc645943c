"""Whatever goes wrong, the answer is a problem document with a stable code, and never a page or a trace."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

from tests.api.conftest import Script
from tests.web.fleet_rows import small_fleet


def code(answer: object) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"  # type: ignore[index]
    body = answer.json()  # type: ignore[attr-defined]
    assert body["status"] == answer.status_code  # type: ignore[attr-defined]
    assert body["detail"]
    return body["status"], body["code"]


@pytest.mark.parametrize("path", ["hosts", "gpus", "endpoints", "models", "loaded-models", "operations"])
def test_an_unknown_id_is_not_found(reader: Script, path: str) -> None:
    assert code(reader.get(f"{path}/424242")) == (404, "not_found")
    assert code(reader.get(f"{path}/nonsense")) == (404, "not_found")


def test_an_unknown_address_is_not_found(reader: Script) -> None:
    assert code(reader.get("secrets")) == (404, "not_found")


def test_a_body_that_is_not_json_is_refused(writer: Script) -> None:
    answer = writer.client.post(
        "/api/v1/operations", "{bad", content_type="application/json", headers={"Authorization": f"Bearer {writer.secret}"}
    )
    assert code(answer)[0] == 400


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_json_that_does_not_say_so_is_refused_with_what_to_send(writer: Script, kind: str) -> None:
    answer = writer.send("post", "agents/enrolments", '{"host": "atlas"}', content_type=kind)
    assert code(answer) == (415, "unsupported_media_type")
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/merge-patch+json"])
def test_json_may_say_more_of_itself(writer: Script, kind: str) -> None:
    answer = writer.send("post", "agents/enrolments", '{"host": "nowhere"}', content_type=kind)
    assert code(answer) == (422, "unknown_host")


def test_without_a_body_nothing_has_to_be_said_of_it(writer: Script) -> None:
    answer = writer.send("post", "operations/424242/cancel", "", content_type="application/x-www-form-urlencoded")
    assert code(answer) == (404, "not_found")


def test_every_wrong_field_is_named(writer: Script) -> None:
    answer = writer.post("operations", {"kind": "explode", "model": 7, "colour": "red"})
    assert code(answer) == (422, "invalid_request")
    assert {fault["field"] for fault in answer.json()["errors"]} >= {"kind", "endpoint", "model", "colour"}


def test_a_body_that_is_too_large_is_refused(writer: Script) -> None:
    answer = writer.post("operations", {"kind": "load", "endpoint": "x", "model": "x" * 2_000_000})
    assert code(answer) == (413, "too_large")


@pytest.mark.parametrize("endpoint", ["nowhere", "a\x00b", 424242, -1, 2**70, ""])
def test_an_unknown_endpoint_is_named(writer: Script, endpoint: object) -> None:
    answer = writer.post("operations", {"kind": "load", "endpoint": endpoint, "model": "llama3.1:8b"})
    assert code(answer) == (422, "unknown_endpoint")


def test_an_idempotency_key_has_a_form(writer: Script) -> None:
    body = {"kind": "load", "endpoint": "nowhere", "model": "llama3.1:8b"}
    assert code(writer.post("operations", body, **{"Idempotency-Key": "k" * 256}))[0] == 422


def test_a_locked_database_is_said_and_nothing_is_changed(reader: Script) -> None:
    with patch("models_app.api.hosts._with_gpus", side_effect=OperationalError("database is locked")):
        assert code(reader.get("hosts")) == (503, "database_unavailable")


def test_a_fault_of_ours_shows_nothing_of_the_inside(reader: Script) -> None:
    with patch("models_app.api.hosts._with_gpus", side_effect=RuntimeError("secret inside")):
        answer = reader.get("hosts")
    assert code(answer) == (500, "internal_error")
    assert b"secret" not in answer.content


def test_a_wrong_method_is_refused(db: None) -> None:
    assert Client().delete("/api/v1/hosts").status_code == 405


@pytest.mark.parametrize("address", ["nothing", "alert-receivers/x%0A", "a%0Ab"])
def test_an_address_that_there_is_not_is_a_problem_document_however_it_is_spelt(client: Client, address: str) -> None:
    answer = client.get(f"/api/v1/{address}")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_a_wrong_method_names_those_that_there_are(writer: Script) -> None:
    answer = writer.send("patch", "operations", "{}")
    assert code(answer) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD, POST"
    assert writer.send("options", "operations", "").status_code == 204
    assert writer.send("head", "operations").status_code == 200
    assert writer.send("head", "operations/424242").status_code == 404
    assert Client().head("/api/v1/hosts").status_code == 401


def test_what_is_missing_or_unknown_is_said_in_plain_words(writer: Script) -> None:
    told = {fault["field"]: fault["message"] for fault in writer.post("operations", {"colour": 1}).json()["errors"]}
    assert told == {"kind": "It is required.", "endpoint": "It is required.", "model": "It is required."} | {
        "colour": "There is no such field."
    }
    assert "JSON object" in writer.post("operations", []).json()["detail"]
    assert writer.post("operations/424242/cancel").json()["detail"] == "No operation has that id."


def test_a_refusal_says_by_what_one_may_insist(writer: Script) -> None:
    fleet = small_fleet()
    body = {"kind": "delete", "endpoint": fleet.endpoint.name, "model": fleet.loaded.name}
    answer = writer.post("operations", body)
    assert code(answer) == (409, "model_in_use")
    assert "“confirmed”: true" in answer.json()["detail"]
    assert writer.post("operations", body | {"confirmed": True}).status_code == 202
