"""What is in memory: pinned and let go of, and what is told of it while its server does not answer."""

from __future__ import annotations

from django.utils import timezone

from models_app.accounts.models import AuditEntry
from models_app.inventory.models import Endpoint, Residency
from tests.api.conftest import Script
from tests.factories import LoadedModelFactory


def test_what_berth_loaded_is_pinned_and_let_go_of(writer: Script) -> None:
    row = LoadedModelFactory()
    Residency.objects.create(endpoint=row.endpoint, name=row.name, requested_by="ada", since=timezone.now())
    for pinned in (True, False):
        answer = writer.post(f"loaded-models/{row.pk}/pin", {"pinned": pinned})
        assert (answer.status_code, answer.json()["pinned"]) == (200, pinned)
        assert writer.get(f"loaded-models/{row.pk}").json()["pinned"] is pinned
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"model.pin", "model.unpin"}


def test_a_model_of_a_server_that_does_not_answer_is_told_as_seen_last(reader: Script) -> None:
    row = LoadedModelFactory()
    assert reader.get(f"loaded-models/{row.pk}").json()["is_current"] is True
    Endpoint.objects.update(state=Endpoint.State.UNREACHABLE)
    told = reader.get("loaded-models").json()["items"][0]
    assert (told["is_current"], told["last_seen_at"][:16]) == (False, f"{row.last_seen_at:%Y-%m-%dT%H:%M}")


def test_a_pin_of_another_clients_model_or_of_none_is_refused(writer: Script, reader: Script) -> None:
    row = LoadedModelFactory()
    assert writer.post(f"loaded-models/{row.pk}/pin", {"pinned": True}).json()["code"] == "foreign_model"
    assert writer.post("loaded-models/424242/pin", {"pinned": True}).json()["code"] == "not_found"
    assert reader.post(f"loaded-models/{row.pk}/pin", {"pinned": True}).json()["code"] == "read_only"
