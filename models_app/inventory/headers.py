"""Learns the headers of what an endpoint has installed: from the files on the panel's own host, else from the endpoint.

Once for each file, a few at a time, and never in a way that wakes a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from models_app.backends.errors import BackendError
from models_app.backends.file_headers import shape_of_header
from models_app.backends.protocol import Backend, Capability, ModelShape
from models_app.catalog.headers import FoundHeader, adopt_headers, record_headers, unread_headers
from models_app.catalog.models import VariantHeader
from models_app.catalog.sync import record_shapes
from models_app.gguf.errors import GgufError
from models_app.gguf.splits import read_model

AT_ONCE = 2
PER_WRITE = 32

_asked: WeakKeyDictionary[Backend, set[tuple[str, str]]] = WeakKeyDictionary()
"""Names and fingerprints that each backend was asked for in vain: what cannot be told is not asked for every minute."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the headers of one endpoint's models come from; ``paths`` are files by the model's name, on our own host."""

    endpoint_id: int
    backend: Backend
    capabilities: frozenset[Capability]
    paths: Mapping[str, str]
    is_local: bool


@dataclass(frozen=True, slots=True)
class _Learnt:
    """What was found out of one model; ``None`` is what nobody tells."""

    header: FoundHeader | None = None
    shape: ModelShape | None = None


async def learn_headers(source: Source) -> None:
    """Fill the catalog with the headers that it lacks. What cannot be read is left to the quick estimate."""
    fingerprints = await asyncio.to_thread(_fingerprints, source.paths)
    names = await sync_to_async(_wanted)(source, fingerprints)
    slots = asyncio.Semaphore(AT_ONCE)
    for start in range(0, len(names), PER_WRITE):
        batch = names[start : start + PER_WRITE]
        answers = await asyncio.gather(*(_learn(source, name, fingerprints.get(name, ""), slots) for name in batch))
        await sync_to_async(_record)(source, {name: found for name, found in zip(batch, answers, strict=True) if found})


def _wanted(source: Source, fingerprints: Mapping[str, str]) -> list[str]:
    adopt_headers(source.endpoint_id)
    asked = _asked.setdefault(source.backend, set())
    unread = unread_headers(source.endpoint_id, fingerprints)
    can_ask = Capability.HEADER in source.capabilities
    known = [name for name in unread if can_ask or name in fingerprints]
    return [name for name in known if (name, fingerprints.get(name, "")) not in asked]


async def _learn(source: Source, name: str, fingerprint: str, slots: asyncio.Semaphore) -> _Learnt | None:
    """``None`` where asking again may help."""
    async with slots:
        try:
            learnt = await _found(source, name, fingerprint)
        except BackendError as error:
            if error.retryable:
                return None
            learnt = _Learnt()
    if learnt.header is None:
        _asked[source.backend].add((name, fingerprint))
    return learnt


async def _found(source: Source, name: str, fingerprint: str) -> _Learnt:
    if fingerprint:
        return await asyncio.to_thread(_from_file, source.paths[name], fingerprint)
    answer = await source.backend.header(name)
    if source.is_local and answer.path:
        from_file = await asyncio.to_thread(_from_file, answer.path, "")
        if from_file.header is not None:
            return _Learnt(from_file.header, answer.shape)
    header = FoundHeader(answer.header, "", VariantHeader.Source.ENDPOINT) if answer.header is not None else None
    return _Learnt(header, answer.shape)


def _from_file(path: str, fingerprint: str) -> _Learnt:
    try:
        header = read_model(path)
    except (GgufError, OSError):
        return _Learnt()
    return _Learnt(FoundHeader(header, fingerprint, VariantHeader.Source.FILE), shape_of_header(header))


def _record(source: Source, learnt: Mapping[str, _Learnt]) -> None:
    record_headers(source.endpoint_id, {name: each.header for name, each in learnt.items() if each.header is not None})
    record_shapes(source.endpoint_id, {name: each.shape for name, each in learnt.items() if each.shape is not None})


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
