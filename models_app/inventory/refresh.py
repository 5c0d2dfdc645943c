"""Reads again what an endpoint is and what it has installed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from models_app.backends.errors import BackendError
from models_app.backends.protocol import Backend, InstalledModel, ModelShape
from models_app.catalog.sync import record_installed, record_shapes, unshaped
from models_app.inventory.connect import backend_for
from models_app.inventory.endpoints import described
from models_app.inventory.headers import Source, learn_headers
from models_app.inventory.local_files import model_bytes, shape_of_file
from models_app.inventory.models import Endpoint
from models_app.live import Topic, publish

SHAPES_AT_ONCE = 4
SHAPES_PER_WRITE = 64

_asked: WeakKeyDictionary[Backend, set[int]] = WeakKeyDictionary()
"""Variants whose header each backend was asked for: an endpoint that does not tell is not asked every minute."""


async def refresh_installed(endpoint: Endpoint, backend: Backend | None = None) -> None:
    """Identify the endpoint, list what it has installed, and ask for the headers that nobody knows yet.

    Raises ``BackendError`` where it does not answer; what was learnt before that stays.
    """
    if backend is not None:
        return await _refresh(endpoint, backend)
    async with aclosing(await sync_to_async(backend_for)(endpoint)) as own:
        return await _refresh(endpoint, own)


async def _refresh(endpoint: Endpoint, backend: Backend) -> None:
    info = await backend.identify()
    await sync_to_async(_record_info)(endpoint, described(info))
    models = await backend.installed()
    is_local = await sync_to_async(_is_local)(endpoint)
    if is_local:
        models = await asyncio.to_thread(_with_sizes, models)
    await sync_to_async(record_installed)(endpoint.pk, models)
    paths = {model.name: model.path for model in models if model.path and is_local}
    await learn_headers(Source(endpoint.pk, backend, info.capabilities, paths, is_local))
    await _learn_shapes(endpoint, backend, paths)


async def _learn_shapes(endpoint: Endpoint, backend: Backend, paths: Mapping[str, str]) -> None:
    wanted = await sync_to_async(unshaped)(endpoint.pk)
    asked = _asked.setdefault(backend, set())
    names = [name for name, variant in wanted.items() if variant not in asked]
    slots = asyncio.Semaphore(SHAPES_AT_ONCE)
    for start in range(0, len(names), SHAPES_PER_WRITE):
        batch = names[start : start + SHAPES_PER_WRITE]
        answers = await asyncio.gather(*(_shape(backend, name, paths.get(name, ""), slots) for name in batch))
        shapes = {name: shape for name, shape in zip(batch, answers, strict=True) if shape is not None}
        asked.update(wanted[name] for name in shapes)
        await sync_to_async(record_shapes)(endpoint.pk, shapes)


async def _shape(backend: Backend, name: str, path: str, slots: asyncio.Semaphore) -> ModelShape | None:
    """The header as the file has it, or as the endpoint tells it; ``None`` where asking again may help."""
    async with slots:
        try:
            return await asyncio.to_thread(shape_of_file, path) or await backend.shape(name)
        except BackendError as error:
            return None if error.retryable else ModelShape()


def _with_sizes(models: list[InstalledModel]) -> list[InstalledModel]:
    """Sizes from the files themselves, where the endpoint tells only where they are."""
    return [model if model.size_bytes else replace(model, size_bytes=model_bytes(model.path)) for model in models]


def _is_local(endpoint: Endpoint) -> bool:
    return Endpoint.objects.filter(pk=endpoint.pk, host__is_local=True).exists()


def _record_info(endpoint: Endpoint, columns: dict[str, Any]) -> bool:
    """Whether the endpoint is another one than its row said."""
    known = Endpoint.objects.get(pk=endpoint.pk)
    news = {name: value for name, value in columns.items() if getattr(known, name) != value}
    if not news:
        return False
    Endpoint.objects.filter(pk=endpoint.pk).update(**news)
    publish(Topic.INVENTORY, endpoint.pk)
    return True
