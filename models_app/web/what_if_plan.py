"""A plan's what-if form: other demands, GPUs removed and added, another headroom. What is refused is kept as typed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from models_app.inventory.models import Gpu
from models_app.inventory.references import row_id
from models_app.operations.refusals import RequestRefused
from models_app.plans.changes import IMAGINARY
from models_app.plans.demand import read_demand
from models_app.plans.documents import InvalidYaml, demands_yaml, read_yaml
from models_app.plans.fleet import fleet_of
from models_app.plans.models import Plan

GB = 1000**3
MOST_CHARACTERS = 512 * 1024


@dataclass(frozen=True, slots=True)
class Tick:
    """A choice to tick, with what it is called."""

    value: str
    title: str
    detail: str
    is_ticked: bool


@dataclass(frozen=True, slots=True)
class WhatIfForm:
    """What the form shows: as the plan has it, or as it was typed and refused."""

    demands: tuple[Tick, ...]
    gpus: tuple[Tick, ...]
    hosts: tuple[str, ...]
    added: tuple[str, ...]
    yaml: str
    headroom: str = ""
    add_gb: str = ""
    add_host: str = ""
    refusal: str = ""


def what_if_form(plan: Plan, typed: QueryDict | None = None, refusal: str = "") -> WhatIfForm:
    """The form of a plan, with what was typed where it was refused."""
    changes = plan.changes
    is_typed = typed is not None and "yaml" in typed
    given = typed if typed is not None and is_typed else QueryDict()
    kept = given.getlist("keep") if is_typed else [document["name"] for document in plan.demands]
    removed = given.getlist("remove") if is_typed else changes.get("removed_gpus", [])
    fleet = fleet_of(plan.fleet)
    gpus = [pool for pool in fleet.pools if pool.is_gpu and not pool.id.startswith(IMAGINARY)]
    gone = Gpu.objects.filter(uuid__in=changes.get("removed_gpus", [])).select_related("host")
    headroom = changes.get("headroom_percent")
    return WhatIfForm(
        demands=tuple(Tick(it["name"], it["name"], it["model"], it["name"] in kept) for it in plan.demands),
        gpus=(
            *(Tick(pool.id, f"{pool.host} · {pool.label}", pool.name, pool.id in removed) for pool in gpus),
            *(Tick(gpu.uuid, str(gpu), gpu.name, gpu.uuid in removed) for gpu in gone),
        ),
        hosts=fleet.hosts,
        added=tuple(f"{gpu['bytes']}@{gpu['host']}" for gpu in changes.get("added_gpus", [])),
        yaml=given.get("yaml", "") or demands_yaml(read_demand(document) for document in plan.demands),
        headroom=given.get("headroom", "") if is_typed else "" if headroom is None else f"{headroom:g}",
        add_gb=given.get("add_gb", ""),
        add_host=given.get("add_host", ""),
        refusal=refusal,
    )


def what_if(form: QueryDict) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The demands and the changes. Raises ``RequestRefused`` for what cannot be read; what it says is judged later."""
    if "changes" in form:
        return _documents(form.get("demands", "")), _mapping(form.get("changes", ""))
    return _kept(form), _changes(form)


def _kept(form: QueryDict) -> list[dict[str, Any]]:
    """The demands as edited, without those that are not ticked, and without what others say of them."""
    try:
        specs = read_yaml(form.get("yaml", ""))
    except InvalidYaml as error:
        raise RequestRefused(error.code, str(error), field="yaml") from error
    dropped = set(form.getlist("known")) - set(form.getlist("keep"))
    documents = [spec.document() for spec in specs if spec.name not in dropped]
    for document in documents:
        for field in ("together_with", "apart_from"):
            if field in document:
                document[field] = [name for name in document[field] if name not in dropped]
    return documents


def _changes(form: QueryDict) -> dict[str, Any]:
    changes: dict[str, Any] = {"removed_gpus": form.getlist("remove")}
    if form.get("headroom", "").strip():
        changes["headroom_percent"] = _number(form.get("headroom", ""), "headroom", "The headroom")
    added = [gpu for gpu in form.getlist("added") if gpu]
    sizes = [
        {"host": host, "bytes": number}
        for size, _, host in (gpu.partition("@") for gpu in added)
        if (number := row_id(size))
    ]
    if form.get("add_gb", "").strip():
        gigabytes = _number(form.get("add_gb", ""), "add_gb", "The size of the GPU")
        sizes.append({"host": form.get("add_host", ""), "bytes": int(gigabytes * GB)})
    return changes | {"added_gpus": [gpu | {"name": "Added GPU"} for gpu in sizes]}


def _number(text: str, field: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise RequestRefused("invalid_changes", f"{what} is a number.", field=field) from None
    if not 0 <= value < 1e6:
        raise RequestRefused("invalid_changes", f"{what} is out of range.", field=field)
    return value


def _documents(text: str) -> list[dict[str, Any]]:
    found = _json(text)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise RequestRefused("invalid_demands", "The demands are a list.")
    return found


def _mapping(text: str) -> dict[str, Any]:
    found = _json(text)
    if not isinstance(found, dict):
        raise RequestRefused("invalid_changes", "The changes are a mapping.")
    return found


def _json(text: str) -> object:
    try:
        return json.loads(text[:MOST_CHARACTERS])
    except (ValueError, RecursionError):
        raise RequestRefused("invalid_request", "The form was sent incomplete; try again.") from None
