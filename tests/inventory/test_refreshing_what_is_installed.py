"""What an endpoint is and has installed, read again."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from models_app.backends.errors import ConnectionRefused
from models_app.catalog.models import Installation, Variant
from models_app.inventory.connect import backend_for
from models_app.inventory.endpoints import add_endpoint
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.refresh import refresh_installed
from models_app.live import current_revision
from models_app.simulation.catalogue import models
from models_app.simulation.faults import Fault
from models_app.simulation.llama_children import Child
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.server import serve
from tests.inventory.conftest import ADA
from tests.tools.make_gguf import write_model


def shows(simulator: Any) -> int:
    return sum(path == "/api/show" for _, path in simulator.server.requests)


async def test_every_installed_model_is_listed_with_its_header(ollama: Endpoint) -> None:
    await refresh_installed(ollama)
    rows = {row.name: row async for row in Installation.objects.select_related("variant__model")}
    assert len(rows) == 5
    variant = rows["llama3.1:8b"].variant
    assert (variant.model.name, variant.quantization, variant.architecture) == ("llama3.1", "Q4_K_M", "llama")
    assert (variant.layer_count, variant.kv_head_count, variant.training_context_length) == (32, 8, 131_072)
    assert variant.file_size_bytes == rows["llama3.1:8b"].size_bytes == 4_920_753_328
    assert variant.parameter_count == 8_030_261_312
    assert rows["nomic-embed-text:latest"].variant.is_embedding


async def test_a_second_refresh_asks_for_no_header_and_changes_nothing(ollama: Endpoint, ollama_simulator: Any) -> None:
    await refresh_installed(ollama)
    asked, published = shows(ollama_simulator), await sync_to_async(current_revision)()
    await refresh_installed(ollama)
    assert shows(ollama_simulator) == asked == 5
    assert await sync_to_async(current_revision)() == published


async def test_a_deleted_model_loses_its_installation_only(ollama: Endpoint, ollama_simulator: Any) -> None:
    await refresh_installed(ollama)
    backend = await sync_to_async(backend_for)(ollama)
    await backend.delete("llama3.2:3b")
    await refresh_installed(ollama, backend)
    await backend.aclose()
    assert not await Installation.objects.filter(name="llama3.2:3b").aexists()
    assert await Variant.objects.filter(name="llama3.2:3b").aexists()


async def test_an_update_of_the_server_is_noticed(ollama: Endpoint, ollama_simulator: Any) -> None:
    ollama_simulator.server.version = "0.17.0"
    await refresh_installed(ollama)
    await ollama.arefresh_from_db()
    assert ollama.version == "0.17.0"
    assert "CVE-2026-7482" in ollama.warnings[0]


async def test_a_header_that_cannot_be_read_now_is_asked_for_again(ollama: Endpoint, ollama_simulator: Any) -> None:
    ollama_simulator.server.faults.add(Fault.SERVER_ERROR, path="/api/show")
    backend = await sync_to_async(backend_for)(ollama)
    await refresh_installed(ollama, backend)
    assert await Installation.objects.acount() == 5
    assert not await Variant.objects.filter(layer_count__gt=0).aexists()
    ollama_simulator.server.faults.clear()
    await refresh_installed(ollama, backend)
    await backend.aclose()
    assert await Variant.objects.filter(layer_count__gt=0).acount() == 5


async def test_a_router_that_knows_no_headers_is_asked_once(router: Endpoint, router_simulator: Any) -> None:
    backend = await sync_to_async(backend_for)(router)
    await refresh_installed(router, backend)
    first = len(router_simulator.server.requests)
    await refresh_installed(router, backend)
    await backend.aclose()
    assert len(router_simulator.server.requests) - first == 2
    assert router_simulator.server.wakes == []
    variant = await Variant.objects.select_related("model").aget(name="llama-3.1-8b-instruct-q8_0")
    assert (variant.model.name, variant.quantization) == ("llama-3.1", "Q8_0")


async def test_a_silent_endpoint_keeps_what_was_known(ollama: Endpoint, ollama_simulator: Any) -> None:
    await refresh_installed(ollama)
    await ollama_simulator.serving.close()
    with pytest.raises(ConnectionRefused):
        await refresh_installed(ollama)
    assert await Installation.objects.acount() == 5


async def test_files_on_the_own_host_tell_size_and_header(
    transactional_db: None, simulated_host: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama-server names only the path of a model that is not loaded."""
    file = tmp_path / "tiny.gguf"
    size_bytes = write_model(file)
    server = LlamaRouterSimulator(simulated_host, models("bge-m3-f16"))
    monkeypatch.setattr(Child, "path", str(file))
    host = await Host.objects.acreate(name="here", is_local=True)
    async with serve(server) as serving:
        endpoint = await add_endpoint(ADA, host, "router", serving.url)
        await refresh_installed(endpoint)
    variant = await Variant.objects.aget(name="bge-m3-f16")
    assert variant.file_size_bytes == size_bytes
    assert variant.architecture == "llama"
    assert variant.layer_count
    assert variant.kv_head_count
