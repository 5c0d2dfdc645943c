"""From rows and samples to the hosts that rules judge: the same figures as pages show, by columns alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app.alerts.rules.fleet import HostFacts
from models_app.alerts.snapshot import snapshot
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.inventory.routes import agent_url
from models_app.operations.fleet import fleet
from models_app.operations.reservations import Reservation
from models_app.probes.attribution import Coverage
from models_app.probes.types import GpuSample, GpuState, HostSample, ServerProcesses, Worker
from models_app.telemetry.division import By, GpuShares, ModelShare
from models_app.telemetry.models import LatestSample
from models_app.telemetry.samples import pack
from tests.factories import GIB, EndpointFactory, GpuFactory, InstallationFactory, LoadedModelFactory, OperationFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def gpu() -> Gpu:
    return GpuFactory(host__name="atlas", uuid="GPU-1", index=3, total_bytes=24 * GIB)


@pytest.fixture
def llama(gpu: Gpu) -> LoadedModel:
    endpoint = EndpointFactory(host=gpu.host, state="online", capabilities=["unload"])
    return LoadedModelFactory(endpoint=endpoint, size_bytes=4 * GIB, vram_bytes=4 * GIB, context_length=4096)


def sampled(gpu: Gpu, *, models: dict[int, int], others: dict[str, int], **figures: object) -> None:
    used = sum(models.values()) + sum(others.values()) + GIB
    given = {
        "total_bytes": 24 * GIB,
        "used_bytes": used,
        "free_bytes": 24 * GIB - used,
        "temperature_celsius": 50,
    } | figures
    sample = HostSample("boot", 1, timezone.now(), (GpuSample(gpu.uuid, gpu.index, "RTX", **given),))  # type: ignore[arg-type]
    shares = {row: ModelShare(count, By.PROCESS) for row, count in models.items()}
    divided = {gpu.uuid: GpuShares(gpu.uuid, used, shares, others, GIB, Coverage.FULL)}
    LatestSample.objects.update_or_create(
        host=gpu.host,
        defaults={
            "boot_id": "boot",
            "sequence": 1,
            "taken_at": sample.taken_at,
            "payload": pack(sample, divided),
            "recent": {},
        },
    )


def seen() -> HostFacts:
    [host] = snapshot(timezone.now()).hosts
    return host


def test_a_gpus_bytes_are_divided_as_on_the_fleet_page(gpu: Gpu, llama: LoadedModel) -> None:
    sampled(gpu, models={llama.pk: 3 * GIB}, others={"ollama": 2 * GIB, "python3": GIB})
    host = seen()
    [found], [model] = host.gpus, host.models
    [shown] = fleet().hosts[0].gpus
    assert (found.used_bytes, found.free_bytes, found.index) == (shown.used_bytes, shown.free_bytes, 3)
    assert (found.unexplained_bytes, found.idle_server_bytes) == (shown.unexplained_bytes, 2 * GIB)
    assert found.unexplained_bytes == GIB
    assert (model.gpu_bytes, model.attributed_by, model.can_unload) == ({"GPU-1": 3 * GIB}, "process", True)
    assert host.models_on(found) == [model]


def test_what_a_load_has_risen_by_is_not_unexplained(gpu: Gpu, llama: LoadedModel) -> None:
    sampled(gpu, models={llama.pk: 3 * GIB}, others={})
    operation = OperationFactory(endpoint=llama.endpoint, model_name="coming:7b")
    Reservation.objects.create(operation=operation, gpu=gpu, reservation_bytes=5 * GIB, baseline_bytes=3 * GIB + GIB // 2)
    [found], [shown] = seen().gpus, fleet().hosts[0].gpus
    assert found.unexplained_bytes == shown.unexplained_bytes == GIB // 2


def test_a_gpu_that_does_not_answer_keeps_what_its_row_knows(gpu: Gpu) -> None:
    sampled(gpu, models={}, others={}, state=GpuState.LOST, total_bytes=0, used_bytes=0, free_bytes=0)
    [found] = seen().gpus
    assert (found.state, found.is_measured, found.total_bytes) == (GpuState.LOST, False, 24 * GIB)


def test_a_host_without_a_sample_keeps_its_gpus(gpu: Gpu) -> None:
    Host.objects.update(last_sample_at=timezone.now() - timedelta(minutes=5))
    host = seen()
    assert [(each.uuid, each.is_measured, each.total_bytes) for each in host.gpus] == [("GPU-1", False, 24 * GIB)]
    assert host.sampled_at is not None


def test_the_cache_is_reckoned_for_models_on_the_cpu_alone(gpu: Gpu, llama: LoadedModel) -> None:
    assert seen().models[0].cpu_bytes == seen().models[0].kv_bytes == 0
    InstallationFactory(endpoint=llama.endpoint, name=llama.name)
    LoadedModel.objects.update(vram_bytes=3 * GIB)
    [model] = seen().models
    assert model.cpu_bytes == GIB
    assert model.kv_bytes == next(fleet().hosts[0].models).kv_bytes > 0


def test_a_model_on_the_cpu_whose_runner_died_is_noticed_by_what_the_agent_lists(llama: LoadedModel) -> None:
    Endpoint.objects.update(url=agent_url(llama.endpoint.host_id, "ollama"), mode="ollama")
    LoadedModel.objects.update(vram_bytes=0)
    for runners, is_lost in (((), True), ((Worker(8, ram_bytes=GIB),), False)):
        servers = (ServerProcesses("ollama", 7, (Worker(7, ram_bytes=GIB), *runners)),)
        LatestSample.objects.update_or_create(
            host=llama.endpoint.host,
            defaults={
                "boot_id": "boot",
                "sequence": 1,
                "taken_at": timezone.now(),
                "payload": pack(HostSample("boot", 1, timezone.now(), servers=servers), {}),
            },
        )
        assert seen().models[0].has_lost_process is is_lost
