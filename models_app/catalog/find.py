"""A variant by what people call it."""

from __future__ import annotations

from django.db.models import Q

from models_app.catalog.models import Variant

LARGEST_ID = 2**63 - 1


def find_variant(reference: int | str, endpoint_id: int | None = None) -> Variant | None:
    """The variant of an id, or of a name: its own or an endpoint's for it, with or without ``:latest``.

    Of several with one name it is the newest of those that ``endpoint_id`` has installed, or anyone, or nobody. Its header
    comes along.
    """
    rows = Variant.objects.select_related("header", "model")
    if isinstance(reference, int):
        return rows.filter(pk=reference).first() if 0 < reference <= LARGEST_ID else None
    name = reference.replace("\x00", "")
    named = rows.filter(Q(name__in=[name, f"{name}:latest"]) | Q(installations__name=name)).order_by("-pk")
    here = named.filter(installations__endpoint=endpoint_id) if endpoint_id else named.filter(installations__isnull=False)
    return here.first() or named.first()
