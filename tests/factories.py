"""Rows for tests, each with the least that makes sense."""

from __future__ import annotations

import factory
from django.utils import timezone

from models_app.alerts.delivery.models import Receiver
from models_app.alerts.models import Alert
from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel
from models_app.operations.measurements import SpeedMeasurement
from models_app.operations.models import Operation

GIB = 1024**3


class HostFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Host

    name = factory.Sequence(lambda n: f"host-{n}")


class GpuFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Gpu

    host = factory.SubFactory(HostFactory)
    uuid = factory.Sequence(lambda n: f"GPU-00000000-0000-0000-0000-{n:012d}")
    index = 0
    name = "NVIDIA GeForce RTX 4090"
    total_bytes = 24 * GIB
    driver_reserved_bytes = GIB // 2


class EndpointFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Endpoint

    host = factory.SubFactory(HostFactory)
    name = factory.Sequence(lambda n: f"endpoint-{n}")
    kind = "ollama"
    mode = "ollama"
    url = factory.Sequence(lambda n: f"http://127.0.0.1:{20000 + n}")
    state = Endpoint.State.ONLINE
    capabilities = ["load", "unload", "pull", "delete", "keep_alive"]
    load_options = ["context_length", "gpu_layers", "batch", "gpu", "keep_alive_seconds", "pinned"]


class VariantFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Variant

    model = factory.SubFactory("tests.factories.CatalogModelFactory")
    name = factory.Sequence(lambda n: f"llama{n}:8b")
    digest = factory.Sequence(lambda n: f"{n:064x}")
    quantization = "Q4_K_M"
    architecture = "llama"
    file_size_bytes = 4_920_000_000
    parameter_count = 8_030_000_000
    layer_count = 32
    head_count = 32
    kv_head_count = 8
    key_length = 128
    value_length = 128
    embedding_length = 4096
    training_context_length = 131_072


class CatalogModelFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = CatalogModel

    name = factory.Sequence(lambda n: f"llama{n}")


class InstallationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Installation

    variant = factory.SubFactory(VariantFactory)
    endpoint = factory.SubFactory(EndpointFactory)
    name = factory.LazyAttribute(lambda row: row.variant.name)
    size_bytes = factory.LazyAttribute(lambda row: row.variant.file_size_bytes)
    seen_at = factory.LazyFunction(timezone.now)


class LoadedModelFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = LoadedModel

    endpoint = factory.SubFactory(EndpointFactory)
    name = factory.Sequence(lambda n: f"llama{n}:8b")
    state = "loaded"
    first_seen_at = factory.LazyFunction(timezone.now)
    last_seen_at = factory.LazyFunction(timezone.now)


class AlertFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Alert

    rule = "vram_full"
    severity = "warning"
    subject = factory.Sequence(lambda n: f"gpu:GPU-{n}")
    subject_name = "atlas · GPU 0"
    sentence = "23.0 GiB of 24.0 GiB are in use."
    evidence = [{"label": "In use", "value": 23 * GIB, "unit": "bytes"}]
    since = factory.LazyFunction(timezone.now)
    raised_at = factory.LazyFunction(timezone.now)
    seen_at = factory.LazyFunction(timezone.now)


class ReceiverFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Receiver

    name = factory.Sequence(lambda n: f"receiver-{n}")
    kind = "webhook"
    address = "http://127.0.0.1:9009/hook"
    secret = "a secret of the tests"
    least_severity = "notice"


class OperationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Operation

    kind = Operation.Kind.LOAD
    endpoint = factory.SubFactory(EndpointFactory)
    model_name = "llama3.1:8b"
    requested_by = "ada"
    via = "web"


class SpeedMeasurementFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = SpeedMeasurement

    variant = factory.SubFactory(VariantFactory)
    backend_kind = "ollama"
    gpu_names = "NVIDIA GeForce RTX 4090"
    gpu_share = 1.0
    context_length = 8192
    token_count = 64
    tokens_per_second = 41.3
