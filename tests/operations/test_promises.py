"""Whatever happens side by side, admissions never promise more than is free beside the headroom."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from models_app.inventory.models import Endpoint, Host
from models_app.operations.admission import admit
from models_app.operations.models import Operation, OperationStep, OperationTarget
from models_app.operations.outcomes import Failure, Outdated, Waiting
from models_app.operations.reservations import Reservation, own_bytes
from models_app.simulation.devices import SimulatedGpu
from models_app.simulation.hardware import SimulatedHost
from models_app.telemetry import sources
from models_app.telemetry.gpus import record_gpus
from tests.factories import EndpointFactory, HostFactory, InstallationFactory, VariantFactory

GIB = 1024**3
STEPS = 80


@dataclass
class Site:
    """A host whose processes all show: two servers, another program, and operations that come and go."""

    host: Host
    machine: SimulatedHost
    endpoints: list[Endpoint]
    stranger: int
    models: dict[int, dict[str, int]] = field(default_factory=dict)
    """By the endpoint's id, the process of each of its models."""

    def running(self) -> list[Operation]:
        return list(Operation.objects.filter(state="running").select_related("endpoint__host"))

    def ask(self, endpoint: Endpoint, model: str) -> Operation | None:
        """A load that a runner takes; ``None`` where it was not admitted."""
        operation = Operation.objects.create(
            kind="load", endpoint=endpoint, model_name=model, state="running", options={"context_length": 4096}
        )
        OperationTarget.objects.create(operation=operation, endpoint=endpoint, model_name=model)
        step = OperationStep(action="load", model_name=model, options=operation.options)
        try:
            with transaction.atomic():
                admit(operation, [step], self.machine.sample())
        except (Waiting, Outdated, Failure):
            Operation.objects.filter(pk=operation.pk).delete()
            return None
        self.models[endpoint.pk][model] = self.machine.spawn("llama-server")
        return operation

    def rise(self, operation: Operation, share: float) -> None:
        """The load takes a share of what it still may of one of its GPUs."""
        row = random.choice(list(operation.reservations.select_related("gpu")))
        pid = self.models[operation.endpoint_id][operation.model_name]
        held_bytes = self.machine.process(pid).vram_bytes.get(row.gpu.index, 0)
        more_bytes = int(share * max(0, row.reservation_bytes - held_bytes))
        self.machine.allocate(pid, row.gpu.index, min(more_bytes, self.machine.free_bytes(row.gpu.index)))

    def end(self, operation: Operation) -> None:
        """It succeeds as it is, and its promise goes."""
        Reservation.objects.filter(operation=operation).delete()
        ended_at = timezone.now() - timedelta(seconds=1)
        Operation.objects.filter(pk=operation.pk).update(state="succeeded", finished_at=ended_at)
        OperationTarget.objects.filter(operation=operation).update(active=False)

    def leave(self, rng: random.Random) -> None:
        """A model that no operation touches leaves memory."""
        busy = {(each.endpoint_id, each.model_name) for each in self.running()}
        idle = [(pk, name) for pk, names in self.models.items() for name in names if (pk, name) not in busy]
        if idle:
            pk, name = rng.choice(idle)
            self.machine.end(self.models[pk].pop(name))

    def disturb(self, rng: random.Random) -> None:
        """Another program takes or returns memory."""
        gpu = rng.randrange(len(self.machine.gpus))
        if rng.random() < 0.3:
            self.machine.end(self.stranger)
            self.stranger = self.machine.spawn("python")
        else:
            self.machine.allocate(self.stranger, gpu, min(rng.randrange(2 * GIB), self.machine.free_bytes(gpu)))

    def promised_bytes(self, index: int) -> int:
        """What admitted loads may still take of a GPU, worked out from the processes themselves."""
        sample = self.machine.sample()
        open_bytes = 0
        for row in Reservation.objects.filter(gpu__index=index).select_related("operation__endpoint__host", "gpu"):
            held = own_bytes(row.operation, sample)
            assert held is not None
            open_bytes += max(0, row.reservation_bytes - held.get(row.gpu.uuid, 0) + (row.own_baseline_bytes or 0))
        return open_bytes


@pytest.fixture
def site(transactional_db: None) -> Iterator[Site]:
    machine = SimulatedHost("site", [SimulatedGpu("NVIDIA L4", 16 * GIB), SimulatedGpu("NVIDIA L4", 12 * GIB)])
    host = HostFactory(name="site")
    sources.register(host, machine)
    record_gpus(host, machine.sample())
    endpoints = EndpointFactory.create_batch(2, host=host)
    site = Site(host, machine, endpoints, machine.spawn("python"), {each.pk: {} for each in endpoints})
    for endpoint in endpoints:
        named = site.models[endpoint.pk]
        by_model = lambda named=named: {name: [pid] for name, pid in named.items()}  # noqa: E731
        sources.register_pids(endpoint.pk, lambda named=named: list(named.values()), by_model)
        for number in range(4):
            variant = VariantFactory(
                name=f"m{number}", digest=f"{endpoint.pk}-{number}", file_size_bytes=(number + 1) * 2 * GIB
            )
            InstallationFactory(endpoint=endpoint, variant=variant)
    yield site
    sources.unregister(host)
    for endpoint in endpoints:
        sources.unregister_pids(endpoint.pk)


@pytest.mark.parametrize("seed", range(8))
def test_no_admission_promises_what_is_not_free(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    random.seed(seed)
    admitted = 0
    for _ in range(STEPS):
        running = site.running()
        match rng.choice(["ask", "ask", "rise", "rise", "end", "leave", "disturb"]):
            case "ask":
                endpoint, model = rng.choice(site.endpoints), f"m{rng.randrange(4)}"
                if model in site.models[endpoint.pk]:
                    continue
                if site.ask(endpoint, model) is None:
                    continue
                admitted += 1
                for index, gpu in enumerate(site.machine.gpus):
                    free_bytes = site.machine.free_bytes(index) - int(settings.HEADROOM_FRACTION * gpu.total_bytes)
                    taken = Reservation.objects.filter(operation=Operation.objects.latest("pk"), gpu__index=index).first()
                    if taken and taken.reservation_bytes:
                        assert site.promised_bytes(index) <= free_bytes
            case "rise" if running:
                site.rise(rng.choice(running), rng.random())
            case "end" if running:
                site.end(rng.choice(running))
            case "leave":
                site.leave(rng)
            case "disturb":
                site.disturb(rng)
    assert admitted > 3


def test_what_another_program_takes_is_no_part_of_a_loads_rise(site: Site) -> None:
    operation = site.ask(site.endpoints[0], "m3")
    assert operation is not None
    promised = site.promised_bytes(0)
    site.machine.allocate(site.stranger, 0, 6 * GIB)
    assert site.promised_bytes(0) == promised
    second = site.ask(site.endpoints[1], "m3")
    assert second is None or not second.reservations.filter(gpu__index=0, reservation_bytes__gt=0).exists()


def test_a_sample_from_before_the_end_of_another_load_is_not_believed(site: Site) -> None:
    first = site.ask(site.endpoints[0], "m1")
    assert first is not None
    old = site.machine.sample()
    site.rise(first, 1.0)
    site.end(first)
    Operation.objects.filter(pk=first.pk).update(finished_at=timezone.now())
    second = Operation.objects.create(kind="load", endpoint=site.endpoints[1], model_name="m1", state="running")
    step = OperationStep(action="load", model_name="m1", options={})
    with pytest.raises(Outdated), transaction.atomic():
        admit(second, [step], old)
    with transaction.atomic():
        admit(second, [step], site.machine.sample())
    assert second.reservations.exists()
