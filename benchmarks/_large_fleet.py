"""Fills an empty database with 125 hosts, 1,000 GPUs, 250 endpoints and 10,000 models; prints a token and query counts.

``python -m benchmarks._large_fleet``: the token first, then for each list its name and the number of queries that a page
of one row and one of 200 rows take.
"""

from __future__ import annotations

import sys

from controlpanel import asgi  # noqa: F401 - first: it sets Django up

# isort: split
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Role, Via, actor, set_role
from models_app.accounts.tokens import create_token
from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.operations.models import Operation
from models_app.simulation.devices import SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack
from tests.factories import (
    GIB,
    CatalogModelFactory,
    EndpointFactory,
    GpuFactory,
    HostFactory,
    InstallationFactory,
    LoadedModelFactory,
    OperationFactory,
    VariantFactory,
)

HOSTS, GPUS_A_HOST, ENDPOINTS_A_HOST, MODELS, LOADED, OPERATIONS = 125, 8, 2, 10_000, 500, 2_000
QUANTIZATIONS = ("Q4_K_M", "Q5_K_M", "Q8_0", "F16")
LISTS = ("models", "gpus", "hosts", "endpoints", "loaded-models", "telemetry/latest", "operations")


def fill() -> None:
    hosts = Host.objects.bulk_create(HostFactory.build(name=f"host-{number}") for number in range(HOSTS))
    Gpu.objects.bulk_create(GpuFactory.build(host=host, index=index) for host in hosts for index in range(GPUS_A_HOST))
    LatestSample.objects.bulk_create(_sample(host) for host in hosts)
    endpoints = Endpoint.objects.bulk_create(
        EndpointFactory.build(host=hosts[number % HOSTS], name=f"endpoint-{number}")
        for number in range(HOSTS * ENDPOINTS_A_HOST)
    )
    _fill_catalog(endpoints)
    LoadedModel.objects.bulk_create(
        LoadedModelFactory.build(endpoint=endpoints[number % len(endpoints)], vram_bytes=number * GIB // 100)
        for number in range(LOADED)
    )
    Operation.objects.bulk_create(
        OperationFactory.build(endpoint=endpoints[number % len(endpoints)], state="succeeded", finished_at=timezone.now())
        for number in range(OPERATIONS)
    )


def _fill_catalog(endpoints: list[Endpoint]) -> None:
    families = CatalogModel.objects.bulk_create(CatalogModelFactory.build() for _ in range(MODELS // len(QUANTIZATIONS)))
    variants = Variant.objects.bulk_create(
        VariantFactory.build(model=families[number // len(QUANTIZATIONS)], quantization=QUANTIZATIONS[number % 4])
        for number in range(MODELS)
    )
    Installation.objects.bulk_create(
        InstallationFactory.build(variant=variant, endpoint=endpoints[(number + further) % len(endpoints)])
        for number, variant in enumerate(variants)
        for further in range(2)
    )


def _sample(host: Host) -> LatestSample:
    machine = SimulatedHost(host.name, [SimulatedGpu("NVIDIA GeForce RTX 4090", 24 * GIB)] * GPUS_A_HOST)
    sample = machine.sample()
    return LatestSample(
        host=host, boot_id=sample.boot_id, sequence=sample.sequence, taken_at=sample.taken_at, payload=pack(sample)
    )


def main() -> None:
    call_command("migrate", verbosity=0)
    user = User.objects.create_user("reader")
    set_role(user, Role.MEMBER)
    fill()
    secret = create_token(actor(user, Via.COMMAND), user, "benchmark", ApiToken.Scope.READ)[1]
    sys.stdout.write(f"{secret}\n")
    _queries(secret, LISTS[0], 1)  # the first use of a token is noted, in a query more
    for name in LISTS:
        sys.stdout.write(f"{name} {_queries(secret, name, 1)} {_queries(secret, name, 200)}\n")


def _queries(secret: str, name: str, per_page: int) -> int:
    with CaptureQueriesContext(connection) as captured:
        answer = Client(SERVER_NAME="localhost").get(
            f"/api/v1/{name}?per_page={per_page}", headers={"Authorization": f"Bearer {secret}"}
        )
    assert answer.status_code == 200, answer.content
    return len(captured)


if __name__ == "__main__":
    main()
