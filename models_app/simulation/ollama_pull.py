"""The progress lines of a simulated ``/api/pull``."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

from models_app.simulation.catalogue import SimulatedModel

PROGRESS_LINES = 20
SMALL_LAYER_BYTES = (102, 59, 150)
"""Template, parameters and configuration, as recorded."""


async def download_lines(
    model: SimulatedModel, seconds: float, *, already_here: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """The lines of a download up to ``writing manifest``; layers that are here already are told in one line."""
    digest, total = model.blob_digest, model.file_bytes
    first = {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": total}
    if not already_here:
        yield first
        for number in range(1, PROGRESS_LINES):
            await asyncio.sleep(seconds / PROGRESS_LINES)
            yield first | {"completed": total * number // PROGRESS_LINES}
    yield first | {"completed": total}
    for size_bytes in SMALL_LAYER_BYTES:
        layer = hashlib.sha256(f"{digest} {size_bytes}".encode()).hexdigest()
        status = {"status": f"pulling {layer[:12]}", "digest": f"sha256:{layer}"}
        yield status | {"total": size_bytes, "completed": size_bytes}
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}


def manifest_error(name: str, *, insecure: bool) -> str:
    """Why a name that no registry knows cannot be pulled."""
    if name.startswith("http://") and not insecure:
        return 'pull model manifest: Get "https://registry/v2/manifests/latest": dial tcp: connect: connection refused'
    return "pull model manifest: file does not exist"
