"""The model files that a host's owner lets Berth start servers with."""

from __future__ import annotations

import asyncio

from models_app.agent.supervision.files import FileHeader, Listing, list_models, read_file
from models_app.inventory.managed import check_manageable, supervisor
from models_app.inventory.models import Host


async def list_files(host: Host, wanted: str = "") -> Listing:
    """The files whose path holds every word of ``wanted``. Raises ``BackendError``."""
    check_manageable(host)
    return await asyncio.to_thread(lambda: list_models(supervisor().allowed(), wanted))


async def binaries_of(host: Host) -> list[str]:
    """The names of the programs that may be started. Raises ``BackendError``."""
    check_manageable(host)
    return list((await asyncio.to_thread(supervisor().allowed)).binaries)


async def header_of(host: Host, path: str) -> FileHeader:
    """Size and header of one file. Raises ``BackendError``, ``NotAllowed`` for a file outside of the folders."""
    check_manageable(host)
    return await asyncio.to_thread(lambda: read_file(supervisor().allowed(), path))
