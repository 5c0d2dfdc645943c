"""What people ask of demands and plans: each is checked, written with its audit entry, and told to browsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.live import Topic, publish
from models_app.operations.refusals import RequestRefused
from models_app.plans.changes import InvalidChanges, read_changes
from models_app.plans.demand import DemandSpec, InvalidDemand, between, read_demand, spec_of
from models_app.plans.documents import MOST_DEMANDS, InvalidYaml, read_all, read_yaml
from models_app.plans.models import Demand, Plan
from models_app.plans.naming import unknown_names
from models_app.plans.schedules import Schedule
from models_app.plans.solving import DEFAULT_SECONDS, MOST_SECONDS
from models_app.plans.tasks import enqueue

MOST_NAME = 80


@dataclass(frozen=True, slots=True)
class Imported:
    """The names of the demands that an import added, changed and deleted, and of the schedules that went with these."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    schedules: tuple[str, ...] = ()


def save_demand(actor: Actor, document: Mapping[str, Any], row: Demand | None = None) -> Demand:
    """Add a demand, or change ``row`` to say this.

    Raises ``RequestRefused`` (``invalid_demand``, ``unknown_name``, ``contradiction``, ``name_taken``, ``demand_gone``).
    """
    try:
        spec = read_demand(document)
    except InvalidDemand as error:
        raise _invalid("invalid_demand", error.errors) from error
    with transaction.atomic():
        _take_turns()
        row = _as_it_is(row) if row else None
        others = [each for each in all_specs() if row is None or each.name != row.name]
        if any(each.name == spec.name for each in others):
            raise _name_taken(spec.name)
        if row is None and len(others) >= MOST_DEMANDS:
            raise RequestRefused("too_many_demands", f"There are {MOST_DEMANDS} demands; no more are kept.", status=409)
        if errors := unknown_names(spec):
            raise _invalid("unknown_name", errors)
        renamed = {each.name: each for each in others}
        if row is not None and row.name != spec.name:
            renamed = {each.name: _renamed(each, row.name, spec.name) for each in others}
        if faults := between([*renamed.values(), spec]):
            raise _invalid("contradiction", {"apart_from": " ".join(faults.values())})
        saved = _write(spec, row)
        for before in others:
            after = renamed[before.name]
            if after != before:
                columns = {"together_with": list(after.together_with), "apart_from": list(after.apart_from)}
                Demand.objects.filter(name=before.name).update(**columns)
        audit.record(actor, "demand.change" if row else "demand.add", saved, model=spec.model)
        publish(Topic.PLAN)
    return saved


@transaction.atomic
def delete_demand(actor: Actor, row: Demand) -> None:
    """Forget a demand, and what others say of it."""
    _take_turns()
    audit.record(actor, "demand.delete", row)
    for other in Demand.objects.exclude(pk=row.pk):
        if row.name in (*other.together_with, *other.apart_from):
            other.together_with = [name for name in other.together_with if name != row.name]
            other.apart_from = [name for name in other.apart_from if name != row.name]
            other.save(update_fields=["together_with", "apart_from", "changed_at"])
    row.delete()
    publish(Topic.PLAN)


def import_demands(actor: Actor, text: str, *, replace: bool = False) -> Imported:
    """Add and change demands as a YAML document says, all or none; with ``replace``, delete those that it lacks.

    A demand that it names keeps its schedules; those of a deleted one go with it.

    Raises ``RequestRefused`` with the document's own code, or ``unknown_name``.
    """
    try:
        specs = read_yaml(text)
    except InvalidYaml as error:
        raise RequestRefused(error.code, str(error), errors=error.errors) from error
    named = {spec.name for spec in specs}
    with transaction.atomic():
        _take_turns()
        before = {spec.name: spec for spec in all_specs()}
        errors = {spec.name: " ".join(faults.values()) for spec in specs if (faults := unknown_names(spec))}
        errors |= between([*specs, *(() if replace else (each for name, each in before.items() if name not in named))])
        if errors:
            message = " ".join(f"{name}: {fault}" for name, fault in errors.items())
            raise RequestRefused("unknown_name", message, errors=errors)
        rows = {row.name: row for row in Demand.objects.filter(name__in=named)}
        for spec in specs:
            if before.get(spec.name) != spec:
                _write(spec, rows.get(spec.name))
        gone = sorted(before.keys() - named) if replace else []
        lost = tuple(Schedule.objects.filter(demand__name__in=gone).values_list("name", flat=True))
        Demand.objects.filter(name__in=gone).delete()
        done = Imported(
            tuple(spec.name for spec in specs if spec.name not in before),
            tuple(spec.name for spec in specs if spec.name in before and before[spec.name] != spec),
            tuple(gone),
            lost,
        )
        audit.record(
            actor,
            "demand.import",
            added=len(done.added),
            changed=len(done.changed),
            deleted=len(done.deleted),
            schedules_deleted=list(lost),
        )
        publish(Topic.PLAN)
    return done


def request_plan(
    actor: Actor,
    *,
    name: str = "",
    demands: Sequence[Mapping[str, Any]] | None = None,
    changes: Mapping[str, Any] | None = None,
    seconds: float = DEFAULT_SECONDS,
) -> Plan:
    """Have a plan solved for these demands, by default for all there are. A worker solves it; nothing else is touched.

    Raises ``RequestRefused`` (``no_demands``, ``invalid_demands``, ``invalid_changes``, ``invalid_seconds``).
    """
    if not 0.1 <= seconds <= MOST_SECONDS:
        raise _invalid("invalid_seconds", {"seconds": f"From 0.1 to {MOST_SECONDS:g} seconds."})
    if len(name) > MOST_NAME or (name and not name.isprintable()):
        raise _invalid("invalid_name", {"name": f"At most {MOST_NAME} printable characters."})
    try:
        specs = all_specs() if demands is None else read_all(demands[: MOST_DEMANDS + 1])
        supposed = read_changes(changes or {})
    except InvalidYaml as error:
        raise RequestRefused(error.code, str(error), errors=error.errors) from error
    except InvalidChanges as error:
        raise _invalid(error.code, {error.field: str(error)}) from error
    if not specs:
        raise _invalid("no_demands", {"demands": "There is nothing to place: say first what should be served."})
    with transaction.atomic():
        plan = Plan.objects.create(
            name=name.strip(),
            demands=[spec.document() for spec in specs],
            changes=supposed.document(),
            seconds=seconds,
            user_id=actor.user_id,
            requested_by=actor.name,
        )
        audit.record(actor, "plan.solve", plan, demands=len(specs), what_if=plan.is_what_if)
        publish(Topic.PLAN, plan.pk)
        transaction.on_commit(lambda: enqueue(plan.pk), robust=True)
    return plan


@transaction.atomic
def delete_plan(actor: Actor, plan: Plan) -> None:
    """Forget a plan; what it brought about stays as it is."""
    audit.record(actor, "plan.delete", plan)
    pk = plan.pk
    plan.delete()
    publish(Topic.PLAN, pk)


def all_specs() -> list[DemandSpec]:
    """Every demand, the first priority first."""
    return [spec_of(row) for row in Demand.objects.all()]


def _write(spec: DemandSpec, row: Demand | None) -> Demand:
    saved = row or Demand()
    for column, value in spec.columns().items():
        setattr(saved, column, value)
    try:
        with transaction.atomic():
            saved.save()
    except IntegrityError as error:  # somebody has just given another this name
        raise _name_taken(spec.name) from error
    return saved


def _take_turns() -> None:
    """Lock every demand: what two who write at once say is checked against one another."""
    list(Demand.objects.order_by("pk").select_for_update().values_list("pk", flat=True))


def _as_it_is(row: Demand) -> Demand:
    """The row as others have left it. Raises ``RequestRefused`` where they have deleted it."""
    locked = Demand.objects.filter(pk=row.pk).first()
    if locked is None:
        raise RequestRefused("demand_gone", f"Somebody has deleted {row.name} meanwhile.", status=409)
    return locked


def _renamed(spec: DemandSpec, old: str, new: str) -> DemandSpec:
    columns = spec.columns()
    for field in ("together_with", "apart_from"):
        columns[field] = [new if name == old else name for name in columns[field]]
    return read_demand(columns)


def _name_taken(name: str) -> RequestRefused:
    return _invalid("name_taken", {"name": f"There is a demand named {name} already."}, status=409)


def _invalid(code: str, errors: Mapping[str, str], status: int = 422) -> RequestRefused:
    field = next(iter(errors), "")
    return RequestRefused(code, " ".join(errors.values()), field=field, errors=errors, status=status)
