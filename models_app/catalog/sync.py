"""What an endpoint has installed, written down in bulk: the number of queries hardly grows with the number of models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app.backends.protocol import InstalledModel, ModelShape
from models_app.catalog.models import CatalogModel, Installation, Variant
from models_app.catalog.names import family, quantization
from models_app.live import Topic, publish

Key = tuple[str, str]
"""A variant's name and digest."""

MAX_NAME_LENGTH = 200
BATCH_ROWS = 5000
"""Names in one statement; every database takes more."""

_TEXT_LENGTHS = {"architecture": 40, "quantization": 20}
_COUNTS = ("layer_count", "head_count", "kv_head_count", "key_length", "value_length", "embedding_length")
_LARGEST_COUNT = 2**31 - 1
_COLUMNS = (
    "quantization",
    "architecture",
    "file_size_bytes",
    "parameter_count",
    *_COUNTS,
    "training_context_length",
    "is_embedding",
)


def record_installed(
    endpoint_id: int, models: Iterable[InstalledModel], shapes: Mapping[str, ModelShape] | None = None
) -> bool:
    """Make the rows say what an endpoint has installed; whether anything has changed.

    ``shapes`` are what is known of the models' headers, by name. A figure that the endpoint does not tell leaves what is
    known as it is. A model that is gone loses its installation; its variant stays.
    """
    listed = {model.name: model for model in models if 0 < len(model.name) <= MAX_NAME_LENGTH}
    with transaction.atomic():
        told = {_key(model): _told(model) | _header((shapes or {}).get(name)) for name, model in listed.items()}
        guessed = {_key(model): _guessed(model) for model in listed.values()}
        variants = _ensured_variants({key: guessed[key] | told[key] for key in told})
        changed = _update(variants, told, guessed)
        changed |= _place(endpoint_id, listed, variants, timezone.now())
        if changed:
            publish(Topic.INVENTORY, endpoint_id)
    return changed


def record_shapes(endpoint_id: int, shapes: Mapping[str, ModelShape]) -> bool:
    """Add what has been learnt of the headers of installed models, by name; whether anything has changed."""
    rows = Installation.objects.filter(endpoint_id=endpoint_id, name__in=shapes).select_related("variant")
    variants = {(row.name, row.variant.digest): row.variant for row in rows}
    told = {key: _header(shapes[key[0]]) for key in variants}
    changed = _update(variants, told, {})
    if changed:
        publish(Topic.INVENTORY, endpoint_id)
    return changed


def record_failure(endpoint_id: int, name: str, reason: str) -> None:
    """Remember why the last load of an installed model failed; an empty reason forgets it."""
    rows = Installation.objects.filter(endpoint_id=endpoint_id, name=name).exclude(last_failure=reason)
    if rows.update(last_failure=reason):
        publish(Topic.INVENTORY, endpoint_id)


def unshaped(endpoint_id: int) -> dict[str, int]:
    """Installed models whose header nobody has described yet: their names and the ids of their variants."""
    rows = Installation.objects.filter(endpoint_id=endpoint_id, variant__embedding_length=None)
    return dict(rows.values_list("name", "variant_id"))


def _told(model: InstalledModel) -> dict[str, Any]:
    """What the list of models says for certain."""
    told: dict[str, Any] = {"file_size_bytes": model.size_bytes} if model.size_bytes else {}
    return told | ({"is_embedding": True} if model.is_embedding else {})


def _guessed(model: InstalledModel) -> dict[str, Any]:
    """What the list of models says roughly or only by a name: good until the header is known."""
    guessed = {
        "architecture": model.family,
        "quantization": model.quantization or quantization(model.name),
        "parameter_count": model.parameter_count,
    }
    return _known_only(guessed)


def _header(shape: ModelShape | None) -> dict[str, Any]:
    return _known_only(asdict(shape)) if shape else {}


def _known_only(columns: dict[str, Any]) -> dict[str, Any]:
    """Without the unknown and the impossible; texts cut to what their columns hold."""
    known = {name: value[: _TEXT_LENGTHS[name]] if name in _TEXT_LENGTHS else value for name, value in columns.items()}
    too_large = {name for name in (*_COUNTS, "training_context_length") if (known.get(name) or 0) > _LARGEST_COUNT}
    return {name: value for name, value in known.items() if value and name not in too_large}


def _ensured_variants(columns: Mapping[Key, dict[str, Any]]) -> dict[Key, Variant]:
    """The variant of each key, made with these columns where there was none."""
    known = _read_variants(columns)
    missing = sorted(columns.keys() - known.keys())
    if not missing:
        return known
    families = _ensured_families({family(name) for name, _ in missing})
    rows = [Variant(model_id=families[family(key[0])], name=key[0], digest=key[1], **columns[key]) for key in missing]
    Variant.objects.bulk_create(rows, ignore_conflicts=True)
    return known | _read_variants(missing)


def _ensured_families(names: set[str]) -> dict[str, int]:
    known = _read_families(names)
    missing = sorted(names - known.keys())
    CatalogModel.objects.bulk_create([CatalogModel(name=name) for name in missing], ignore_conflicts=True)
    return known | _read_families(missing)


def _read_families(names: Iterable[str]) -> dict[str, int]:
    rows = (CatalogModel.objects.filter(name__in=batch).values_list("name", "id") for batch in _batches(names))
    return {name: pk for batch in rows for name, pk in batch}


def _read_variants(keys: Iterable[Key]) -> dict[Key, Variant]:
    wanted = set(keys)
    rows = (Variant.objects.filter(name__in=batch) for batch in _batches({name for name, _ in wanted}))
    return {key: row for batch in rows for row in batch if (key := (row.name, row.digest)) in wanted}


def _key(model: InstalledModel) -> Key:
    return model.name, model.digest[:80]


def _update(
    variants: Mapping[Key, Variant], told: Mapping[Key, dict[str, Any]], guessed: Mapping[Key, dict[str, Any]]
) -> bool:
    changed = []
    for key, row in variants.items():
        blank = {name: value for name, value in guessed.get(key, {}).items() if not getattr(row, name)}
        news = {name: value for name, value in (blank | told[key]).items() if getattr(row, name) != value}
        for name, value in news.items():
            setattr(row, name, value)
        if news:
            changed.append(row)
    Variant.objects.bulk_create(
        [_without_id(row) for row in changed],
        update_conflicts=True,
        unique_fields=["name", "digest"],
        update_fields=_COLUMNS,
    )
    return bool(changed)


def _without_id(row: Variant) -> Variant:
    """A copy for an upsert, which is ten times as fast as Django's bulk update of as many columns."""
    columns = {name: getattr(row, name) for name in _COLUMNS}
    return Variant(model_id=row.model_id, name=row.name, digest=row.digest, **columns)


def _place(endpoint_id: int, listed: Mapping[str, InstalledModel], variants: Mapping[Key, Variant], now: datetime) -> bool:
    """Whether an installation was added, changed or removed."""
    installed = {row.name: row for row in Installation.objects.filter(endpoint_id=endpoint_id)}
    wanted = [
        Installation(
            endpoint_id=endpoint_id,
            name=name,
            variant=variants[_key(model)],
            size_bytes=model.size_bytes,
            modified_at=model.modified_at,
            launch={**model.launch, **({"model": model.path} if model.path else {})},
            seen_at=now,
        )
        for name, model in listed.items()
    ]
    news = [row for row in wanted if row.name not in installed or _differs(row, installed[row.name])]
    gone = [row.pk for name, row in installed.items() if name not in listed]
    Installation.objects.filter(endpoint_id=endpoint_id).update(seen_at=now)
    Installation.objects.bulk_create(
        news,
        update_conflicts=True,
        unique_fields=["endpoint", "name"],
        update_fields=["variant", "size_bytes", "modified_at", "launch", "seen_at", "last_failure"],
    )
    for batch in _batches(gone):
        Installation.objects.filter(pk__in=batch).delete()
    return bool(news or gone)


def _differs(row: Installation, before: Installation) -> bool:
    told = ("variant_id", "size_bytes", "modified_at", "launch")
    return any(getattr(row, name) != getattr(before, name) for name in told)


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    ordered = sorted(items)
    for start in range(0, len(ordered), BATCH_ROWS):
        yield ordered[start : start + BATCH_ROWS]
