"""Adding, renaming and removing hosts."""

from __future__ import annotations

import pytest

from models_app.accounts.models import AuditEntry
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.hosts import add_host, ensure_local_host, remove_host, rename, update_host
from models_app.inventory.models import Endpoint, Gpu, Host
from tests.factories import EndpointFactory, GpuFactory, HostFactory
from tests.inventory.conftest import ADA

pytestmark = pytest.mark.django_db


def test_a_host_is_added_and_audited() -> None:
    host = add_host(ADA, "  gpu-1 ", tags=["lab", "lab", " "])
    assert (host.name, host.tags, host.is_local) == ("gpu-1", ["lab"], False)
    assert AuditEntry.objects.get().action == "host.add"


@pytest.mark.parametrize(
    ("name", "code"), [("", "name_missing"), ("  ", "name_missing"), ("x" * 81, "name_invalid"), ("a\x00b", "name_invalid")]
)
def test_a_bad_name_is_refused(name: str, code: str) -> None:
    with pytest.raises(InventoryRefused) as refusal:
        add_host(ADA, name)
    assert (refusal.value.code, refusal.value.field) == (code, "name")
    assert not Host.objects.exists()


def test_a_name_is_given_once() -> None:
    host = add_host(ADA, "gpu-1")
    with pytest.raises(InventoryRefused, match="already"):
        add_host(ADA, "GPU-1")
    assert rename(ADA, host, "Gpu-1").name == "Gpu-1"


def test_of_two_who_give_a_name_at_once_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_app.inventory.hosts.checked_name", lambda name, *_: name)
    add_host(ADA, "gpu-1")
    other = add_host(ADA, "gpu-2")
    for late in (lambda: add_host(ADA, "gpu-1"), lambda: rename(ADA, other, "gpu-1")):
        with pytest.raises(InventoryRefused, match="has just got this name") as refusal:
            late()
        assert (refusal.value.code, refusal.value.field) == ("name_taken", "name")
    assert AuditEntry.objects.count() == 2


def test_too_many_tags_are_refused() -> None:
    with pytest.raises(InventoryRefused) as refusal:
        update_host(ADA, HostFactory(), tags=[f"tag-{n}" for n in range(21)])
    assert refusal.value.field == "tags"


def test_removing_a_host_tells_what_is_lost() -> None:
    host = HostFactory()
    GpuFactory(host=host)
    EndpointFactory(host=host)
    EndpointFactory(host=host)
    assert remove_host(ADA, host, guard=lambda _: "") == {"gpus": 1, "endpoints": 2}
    assert [kind.objects.count() for kind in (Host, Gpu, Endpoint)] == [0, 0, 0]


def test_a_host_with_an_endpoint_at_work_stays() -> None:
    endpoint = EndpointFactory()
    with pytest.raises(InventoryRefused, match="running"):
        remove_host(ADA, endpoint.host, guard=lambda row: "A load is running." if row == endpoint else "")
    assert Host.objects.exists()


def test_the_local_host_is_made_once_and_stays() -> None:
    host = ensure_local_host()
    assert host.is_local
    assert ensure_local_host() == host
    with pytest.raises(InventoryRefused) as refusal:
        remove_host(ADA, host, guard=lambda _: "")
    assert refusal.value.code == "host_is_local"


def test_the_local_host_finds_a_name_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_app.inventory.hosts.hostname", lambda: "gpu-1")
    add_host(ADA, "GPU-1")
    assert ensure_local_host().name == "gpu-1 2"
