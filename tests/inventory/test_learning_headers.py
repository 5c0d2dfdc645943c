"""Headers come from the endpoint or from the files of the panel's own host: once, and without waking a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from models_app.catalog.headers import stored_shape
from models_app.catalog.models import Installation, VariantHeader
from models_app.inventory.connect import backend_for
from models_app.inventory.endpoints import add_endpoint
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.refresh import refresh_installed
from models_app.simulation import ollama_describe
from models_app.simulation.catalogue import models
from models_app.simulation.faults import Fault
from models_app.simulation.llama_children import Child
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.server import serve
from tests.inventory.conftest import ADA
from tests.tools.make_gguf import write_model


def shows(simulator: Any) -> int:
    return sum(path == "/api/show" for _, path in simulator.server.requests)


async def test_ollama_tells_every_header_in_one_call_each(ollama: Endpoint, ollama_simulator: Any) -> None:
    await refresh_installed(ollama)
    assert shows(ollama_simulator) == await VariantHeader.objects.acount() == 5
    row = await VariantHeader.objects.aget(variant__name="llama3.1:8b")
    assert (row.source, len(row.fingerprint)) == ("endpoint", 64)
    assert stored_shape(bytes(row.content)).layer_count == 32
    assert ollama_simulator.server.scheduler.loads == 0


async def test_arrays_are_asked_for_only_where_layers_differ(
    ollama: Endpoint, ollama_simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ollama_describe.model_info

    def with_lists(model: Any, *, verbose: bool) -> dict[str, Any]:
        info = plain(model, verbose=verbose)
        if model.name == "llama3.1:8b":
            info["llama.attention.head_count_kv"] = [8, 4] * 16 if verbose else None
        return info

    monkeypatch.setattr(ollama_describe, "model_info", with_lists)
    await refresh_installed(ollama)
    assert shows(ollama_simulator) == 6
    row = await VariantHeader.objects.aget(variant__name="llama3.1:8b")
    assert [layer.kv_head_count for layer in stored_shape(bytes(row.content)).layers[:3]] == [8, 4, 8]


async def test_a_description_without_tensors_is_no_header_and_is_not_asked_for_again(
    ollama: Endpoint, ollama_simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ollama_describe, "tensors", lambda _model: [])
    backend = await sync_to_async(backend_for)(ollama)
    await refresh_installed(ollama, backend)
    asked = shows(ollama_simulator)
    await refresh_installed(ollama, backend)
    await backend.aclose()
    assert shows(ollama_simulator) == asked == 5
    assert not await VariantHeader.objects.aexists()
    assert await Installation.objects.filter(variant__layer_count=32).aexists()


async def test_a_header_that_cannot_be_told_now_is_asked_for_again(ollama: Endpoint, ollama_simulator: Any) -> None:
    ollama_simulator.server.faults.add(Fault.SERVER_ERROR, path="/api/show")
    backend = await sync_to_async(backend_for)(ollama)
    await refresh_installed(ollama, backend)
    assert not await VariantHeader.objects.aexists()
    ollama_simulator.server.faults.clear()
    await refresh_installed(ollama, backend)
    await backend.aclose()
    assert await VariantHeader.objects.acount() == 5


async def test_a_router_elsewhere_tells_how_it_launches_but_no_header(router: Endpoint, router_simulator: Any) -> None:
    await refresh_installed(router)
    assert not await VariantHeader.objects.aexists()
    place = await Installation.objects.aget(name="llama-3.1-8b-instruct-q8_0")
    assert place.launch == {"ctx_size": 8192, "model": "/srv/models/llama-3.1-8b-instruct-q8_0.gguf"}
    assert router_simulator.server.wakes == []


async def test_a_file_on_the_own_host_is_read_and_read_again_when_it_changes(
    transactional_db: None, simulated_host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny.gguf"
    write_model(file)
    monkeypatch.setattr(Child, "path", str(file))
    host = await Host.objects.acreate(name="here", is_local=True)
    async with serve(LlamaRouterSimulator(simulated_host, models("bge-m3-f16"))) as serving:
        endpoint = await add_endpoint(ADA, host, "router", serving.url)
        await refresh_installed(endpoint)
        first = await VariantHeader.objects.aget()
        await refresh_installed(endpoint)
        assert (await VariantHeader.objects.aget()).learnt_at == first.learnt_at
        write_model(file, arch="qwen2")
        await refresh_installed(endpoint)
    second = await VariantHeader.objects.aget()
    assert (first.source, stored_shape(bytes(first.content)).architecture_name) == ("file", "llama")
    assert stored_shape(bytes(second.content)).architecture_name == "qwen2"


async def test_a_broken_file_is_left_to_the_rule_of_thumb(
    transactional_db: None, simulated_host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + b"\xff" * 100)
    monkeypatch.setattr(Child, "path", str(file))
    host = await Host.objects.acreate(name="here", is_local=True)
    async with serve(LlamaRouterSimulator(simulated_host, models("bge-m3-f16"))) as serving:
        endpoint = await add_endpoint(ADA, host, "router", serving.url)
        await refresh_installed(endpoint)
    assert not await VariantHeader.objects.aexists()


async def test_ollamas_own_file_is_read_where_the_panel_can(
    transactional_db: None, simulated_host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header is whole, whatever the answer leaves out."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    file = blobs / f"sha256-{'e' * 64}"
    write_model(file)
    monkeypatch.setattr(ollama_describe, "_modelfile", lambda _model: f"# Modelfile\n\nFROM {file}\nTEMPLATE x\n")
    host = await Host.objects.acreate(name="here", is_local=True)
    async with serve(OllamaSimulator(simulated_host, models("qwen3:8b"))) as serving:
        endpoint = await add_endpoint(ADA, host, "ollama", serving.url)
        await refresh_installed(endpoint)
    row = await VariantHeader.objects.select_related("variant").aget()
    assert (row.source, row.fingerprint) == ("file", row.variant.digest)
    assert stored_shape(bytes(row.content)).architecture_name == "llama"
