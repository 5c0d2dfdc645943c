"""Learns the headers of what an endpoint has installed: from the files on the panel's own host, else from the endpoint.

Once for each file, a few at a time, and never in a way that wakes a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from models_app.backends.errors import BackendError
from models_app.backends.protocol import Backend, Capability, HeaderAnswer
from models_app.catalog.headers import adopt_headers, record_headers, unread_headers
from models_app.catalog.models import VariantHeader
from models_app.gguf.errors import GgufError
from models_app.gguf.header import GgufHeader
from models_app.gguf.splits import read_model

AT_ONCE = 2
PER_WRITE = 32

Learnt = tuple[GgufHeader, str, str]
"""A header, the fingerprint of its file, and its source."""

_asked: WeakKeyDictionary[Backend, set[tuple[str, str]]] = WeakKeyDictionary()
"""Names and fingerprints that each backend was asked for in vain: what cannot be told is not asked for every minute."""


async def learn_headers(
    endpoint_id: int, backend: Backend, capabilities: frozenset[Capability], paths: Mapping[str, str], *, is_local: bool
) -> None:
    """Fill the catalog with headers that it lacks. ``paths`` are the files of models by name, on the panel's own host.

    What cannot be read is left for the quick estimate.
    """
    fingerprints = await asyncio.to_thread(_fingerprints, paths)
    await sync_to_async(adopt_headers)(endpoint_id)
    wanted = await sync_to_async(unread_headers)(endpoint_id, fingerprints)
    asked = _asked.setdefault(backend, set())
    can_ask = Capability.HEADER in capabilities
    names = [
        name for name in wanted if (name in fingerprints or can_ask) and (name, fingerprints.get(name, "")) not in asked
    ]
    slots = asyncio.Semaphore(AT_ONCE)

    async def learn(name: str) -> Learnt | None:
        async with slots:
            try:
                if name in fingerprints:
                    return await asyncio.to_thread(_from_file, paths[name], fingerprints[name])
                return await _from_endpoint(backend, name, is_local=is_local)
            except BackendError as error:
                if not error.retryable:
                    asked.add((name, ""))
                return None

    for start in range(0, len(names), PER_WRITE):
        batch = names[start : start + PER_WRITE]
        answers = dict(zip(batch, await asyncio.gather(*map(learn, batch)), strict=True))
        learnt = {name: answer for name, answer in answers.items() if answer is not None}
        asked.update((name, fingerprints[name]) for name in batch if name in fingerprints and name not in learnt)
        await sync_to_async(record_headers)(endpoint_id, learnt)


async def _from_endpoint(backend: Backend, name: str, *, is_local: bool) -> Learnt | None:
    """As the endpoint tells it, or as its own file says where the panel can read that."""
    answer: HeaderAnswer = await backend.header(name)
    if is_local and answer.path:
        from_file = await asyncio.to_thread(_from_file, answer.path, "")
        if from_file is not None:
            return from_file
    return (answer.header, "", VariantHeader.Source.ENDPOINT) if answer.header is not None else None


def _from_file(path: str, fingerprint: str) -> Learnt | None:
    try:
        return read_model(path), fingerprint, VariantHeader.Source.FILE
    except (GgufError, OSError):
        return None


def _fingerprints(paths: Mapping[str, str]) -> dict[str, str]:
    """Size and time of change of the files that can be seen."""
    found = {}
    for name, path in paths.items():
        try:
            status = Path(path).stat()
        except (OSError, ValueError):
            continue
        found[name] = f"{status.st_size}:{status.st_mtime_ns}"
    return found
