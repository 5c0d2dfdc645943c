"""Headers of variants: what an estimate needs of them, kept small, and read back once.

A header is kept as compressed JSON, as ``gguf.document`` writes it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from django.db import transaction

from models_app.catalog.models import Installation, VariantHeader
from models_app.estimator.shape import Shape
from models_app.estimator.shape_reader import OTHER_NAMES, read_shape
from models_app.estimator.types import EstimateError
from models_app.gguf.document import as_document, from_document
from models_app.gguf.header import GgufHeader
from models_app.live import Topic, publish

MAX_STORED_BYTES = 256 * 1024
"""The largest real headers take 10 KiB: 1800 tensors whose names repeat."""
MAX_DECODED_BYTES = 16 * 1024**2
SHAPES_KEPT = 1024


class HeaderTooLarge(ValueError):
    """The header does not fit into a row."""


@dataclass(frozen=True, slots=True)
class FoundHeader:
    """A header as it was found. A variant's digest, where it has one, counts before the file's ``fingerprint``."""

    header: GgufHeader
    fingerprint: str
    source: VariantHeader.Source


def encoded(header: GgufHeader) -> bytes:
    """The header as it is stored. Raises ``HeaderTooLarge``."""
    text = json.dumps(
        as_document(header, OTHER_NAMES.get(header.architecture, header.architecture)), separators=(",", ":")
    ).encode()
    content = zlib.compress(text, 9) if len(text) <= MAX_DECODED_BYTES else text
    if len(content) > MAX_STORED_BYTES:
        raise HeaderTooLarge(f"The header takes {len(content)} bytes; at most {MAX_STORED_BYTES} are kept.")
    return content


def decoded(content: bytes) -> GgufHeader:
    """The header as far as it was stored. Raises ``ValueError`` for content that ``encoded`` did not write."""
    try:
        return from_document(json.loads(zlib.decompressobj().decompress(content, MAX_DECODED_BYTES)))
    except (zlib.error, ValueError) as error:
        raise ValueError(f"The stored header is damaged: {error}") from error


def unread_headers(endpoint_id: int, fingerprints: Mapping[str, str]) -> dict[str, int]:
    """Installed models whose header is not known, or is that of another file: their names and their variants' ids.

    ``fingerprints`` are those of the files on the panel's own host, by the model's name; elsewhere the digest counts.
    """
    rows = Installation.objects.filter(endpoint_id=endpoint_id)
    known = rows.values_list("name", "variant_id", "variant__digest", "variant__header__fingerprint")
    return {
        name: variant_id
        for name, variant_id, digest, stored in known
        if stored is None or (name in fingerprints and not digest and stored != fingerprints[name])
    }


def adopt_headers(endpoint_id: int) -> None:
    """Give installed variants the headers that are known of their digests: copies of a model are one file."""
    lacking = Installation.objects.filter(endpoint_id=endpoint_id, variant__header=None).exclude(variant__digest="")
    by_digest: dict[str, set[int]] = {}
    for digest, variant_id in lacking.values_list("variant__digest", "variant_id"):
        by_digest.setdefault(digest, set()).add(variant_id)
    known = VariantHeader.objects.filter(fingerprint__in=by_digest) if by_digest else VariantHeader.objects.none()
    copies = {
        variant_id: VariantHeader(
            variant_id=variant_id, fingerprint=row.fingerprint, source=row.source, content=bytes(row.content)
        )
        for row in known
        for variant_id in by_digest[row.fingerprint]
    }
    _keep(endpoint_id, copies.values())


def record_headers(endpoint_id: int, headers: Mapping[str, FoundHeader]) -> None:
    """Keep headers by the installed model's name. What is too large is left out."""
    rows = Installation.objects.filter(endpoint_id=endpoint_id, name__in=headers).select_related("variant")
    found = []
    for row in rows:
        header = headers[row.name]
        try:
            content = encoded(header.header)
        except HeaderTooLarge:
            continue
        fingerprint = (row.variant.digest or header.fingerprint)[:80]
        found.append(
            VariantHeader(variant_id=row.variant_id, fingerprint=fingerprint, source=header.source, content=content)
        )
    _keep(endpoint_id, found)


def _keep(endpoint_id: int, rows: Iterable[VariantHeader]) -> None:
    by_variant = {row.variant_id: row for row in rows}
    if not by_variant:
        return
    with transaction.atomic():
        VariantHeader.objects.bulk_create(
            by_variant.values(),
            update_conflicts=True,
            unique_fields=["variant"],
            update_fields=["fingerprint", "source", "content", "learnt_at"],
        )
        publish(Topic.INVENTORY, endpoint_id)


@lru_cache(maxsize=SHAPES_KEPT)
def stored_shape(content: bytes) -> Shape:
    """The shape that a stored header describes, read once a process. Raises ``EstimateError``."""
    try:
        header = decoded(content)
    except ValueError as error:
        raise EstimateError(str(error)) from error
    return read_shape(header)
