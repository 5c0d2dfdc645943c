"""The project hangs together: migrations match the models, and the checks for deployment find nothing wrong."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from controlpanel import environment


@pytest.mark.django_db
def test_no_model_change_lacks_its_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_ports_are_read_as_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DECLARED", {})
    monkeypatch.setenv("BERTH_ENDPOINT_PORTS", " 443, 8080-8090,")
    assert environment.ports("BERTH_ENDPOINT_PORTS", "", "") == ((443, 443), (8080, 8090))


@pytest.mark.parametrize("written", ["http", "0", "443-", "8090-8080", "1-65536", "1-2-3"])
def test_ports_that_are_none_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setattr(environment, "DECLARED", {})
    monkeypatch.setenv("BERTH_ENDPOINT_PORTS", written)
    with pytest.raises(ImproperlyConfigured, match="BERTH_ENDPOINT_PORTS"):
        environment.ports("BERTH_ENDPOINT_PORTS", "", "")
