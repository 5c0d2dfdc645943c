"""The project hangs together: migrations match the models, and the checks for deployment find nothing wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object], str], object]:
    """What a kind of variable makes of a text."""
    monkeypatch.setattr(environment, "DECLARED", {})

    def read_as(kind: Callable[..., object], written: str) -> object:
        monkeypatch.setenv("BERTH_TRIED", written)
        return kind("BERTH_TRIED", "", "")

    return read_as


@pytest.mark.parametrize("written", ["", "https://berth.example", "http://10.0.0.1:8000/berth/"])
def test_a_web_address_is_taken_as_it_is(written: str, read: Any) -> None:
    assert read(environment.web_address, written) == written


@pytest.mark.parametrize("written", ["berth.example", "ftp://berth.example", "https://", "https://a b"])
def test_what_is_no_web_address_is_refused(written: str, read: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="BERTH_TRIED"):
        read(environment.web_address, written)


@pytest.mark.parametrize("written", ["berth.example", ".example", "*", "10.0.0.1", "[::1]", "berth_1"])
def test_a_host_name_is_taken_as_django_takes_it(written: str, read: Any) -> None:
    assert read(environment.host_names, written) == [written]


@pytest.mark.parametrize("written", ["https://berth.example", "berth.example:8000", "a b", "berth.example/"])
def test_what_no_browser_sends_as_a_host_is_refused(written: str, read: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="without a port"):
        read(environment.host_names, written)
