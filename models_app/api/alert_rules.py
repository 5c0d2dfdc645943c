"""``/alert-rules``: what is watched for, and by which limits."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import BaseModel, ConfigDict

from models_app.alerts.errors import AlertRefused
from models_app.alerts.limits import limits_by_rule, set_limits
from models_app.alerts.rules.catalogue import RULE_BY_NAME, RULES
from models_app.alerts.rules.findings import Limits, Rule
from models_app.api.alerts import problem_of
from models_app.api.auth import acting
from models_app.api.errors import Problem


class RuleOut(BaseModel):
    """A rule with the limits in force; ``is_default`` says whether they are its own."""

    name: str
    title: str
    meaning: str
    severity: str
    unit: str
    is_on: bool
    raise_at: float
    clear_at: float
    for_seconds: float
    is_default: bool


class LimitsIn(Schema):
    """What to change; the rest stays."""

    model_config = ConfigDict(extra="forbid")

    is_on: bool | None = None
    raise_at: float | None = None
    clear_at: float | None = None
    for_seconds: float | None = None


router = Router(tags=["alerts"])


@router.get("", response=list[RuleOut], summary="List rules with their limits")
def list_rules(request: HttpRequest) -> list[RuleOut]:
    limits = limits_by_rule()
    return [_rule(rule, limits[rule.name]) for rule in RULES]


@router.patch("/{name}", response=RuleOut, summary="Change a rule's limits, or switch it on or off")
def change_rule(request: HttpRequest, name: str, body: LimitsIn) -> RuleOut:
    rule = RULE_BY_NAME.get(name)
    if rule is None:
        raise Problem(404, "not_found", "There is no such rule.")
    changed = {field: getattr(body, field) for field in LimitsIn.model_fields if getattr(body, field) is not None}
    limits = replace(limits_by_rule()[name], **changed)
    try:
        set_limits(acting(request), rule, limits)
    except AlertRefused as refused:
        raise problem_of(refused) from None
    return _rule(rule, limits)


def _rule(rule: Rule, limits: Limits) -> RuleOut:
    return RuleOut(
        name=rule.name,
        title=rule.title,
        meaning=rule.meaning,
        severity=rule.severity,
        unit=rule.unit,
        is_on=limits.is_on,
        raise_at=limits.raise_at,
        clear_at=limits.clear_at,
        for_seconds=limits.for_seconds,
        is_default=limits == rule.limits,
    )
