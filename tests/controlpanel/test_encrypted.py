"""Keys are encrypted in the database, and what another secret key had encrypted is a state, not an error."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from controlpanel.encrypted import Unreadable
from models_app.inventory.models import Endpoint
from models_app.runtime.reencrypting import reencrypt
from tests.factories import EndpointFactory, ReceiverFactory

KEY = "sk-the key that a server wants"


def stored(endpoint: Endpoint) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM models_app_endpoint WHERE id = %s", [endpoint.pk])
        (text,) = cursor.fetchone()
    return str(text)


def read(endpoint: Endpoint) -> str:
    return Endpoint.objects.get(pk=endpoint.pk).api_key


@pytest.fixture
def endpoint(db: None) -> Endpoint:
    made: Endpoint = EndpointFactory(api_key=KEY)
    return made


def test_a_key_is_stored_encrypted_and_read_as_it_was_written(endpoint: Endpoint) -> None:
    assert KEY not in stored(endpoint)
    assert read(endpoint) == KEY
    assert Endpoint.objects.values_list("api_key", flat=True).get() == KEY


def test_who_has_no_key_can_be_asked_for(endpoint: Endpoint) -> None:
    keyless = EndpointFactory()
    assert stored(keyless) == ""
    assert list(Endpoint.objects.exclude(api_key="")) == [endpoint]


def test_what_another_secret_key_had_encrypted_is_unreadable_and_stays_as_it_is(endpoint: Endpoint, settings: Any) -> None:
    before, settings.SECRET_KEY = (stored(endpoint), settings.SECRET_KEY), "another one"
    assert isinstance(read(endpoint), Unreadable)
    Endpoint.objects.get(pk=endpoint.pk).save()
    assert stored(endpoint) == before[0]
    settings.SECRET_KEY = before[1]
    assert read(endpoint) == KEY


def test_an_earlier_secret_key_still_reads_until_all_is_encrypted_anew(endpoint: Endpoint, settings: Any) -> None:
    ReceiverFactory(secret="what signs")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another one", [settings.SECRET_KEY]
    assert read(endpoint) == KEY
    assert (reencrypt().written, reencrypt().written) == (2, 0)
    settings.SECRET_KEY_FALLBACKS = []
    assert read(endpoint) == KEY


def test_what_cannot_be_encrypted_anew_is_named(endpoint: Endpoint, settings: Any) -> None:
    settings.SECRET_KEY = "another one"
    told = StringIO()
    call_command("reencrypt", stdout=told)
    assert f"enter it again: endpoint {endpoint}" in told.getvalue()


@pytest.mark.django_db(transaction=True)
def test_keys_of_before_are_encrypted_by_the_upgrade_and_read_after_the_way_back() -> None:
    endpoint = EndpointFactory(api_key=KEY)
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes("models_app")
    try:
        MigrationExecutor(connection).migrate([("models_app", "0016_audit_address")])
        assert stored(endpoint) == KEY
    finally:
        MigrationExecutor(connection).migrate(latest)
    assert KEY not in stored(endpoint)
    assert read(endpoint) == KEY
