"""The limits in force: a rule's own, or those that an admin chose instead."""

from __future__ import annotations

import math

from django.db import transaction

from models_app.accounts import audit
from models_app.accounts.roles import Actor
from models_app.alerts.errors import AlertRefused
from models_app.alerts.models import RuleLimits
from models_app.alerts.rules.catalogue import RULES
from models_app.alerts.rules.findings import Limits, Rule
from models_app.live import Topic, publish

LONGEST_SECONDS = 24 * 3600
MOST = 1e15


def limits_by_rule() -> dict[str, Limits]:
    """What is in force for every rule, by its name."""
    chosen = {row.rule: row for row in RuleLimits.objects.all()}
    return {rule.name: _limits(chosen[rule.name]) if rule.name in chosen else rule.limits for rule in RULES}


def _limits(row: RuleLimits) -> Limits:
    return Limits(row.raise_at, row.clear_at, row.for_seconds, row.is_on)


@transaction.atomic
def set_limits(actor: Actor, rule: Rule, limits: Limits) -> None:
    """Change the limits of a rule. Raises ``AlertRefused`` for limits that make no sense."""
    check(limits)
    columns = {
        "is_on": limits.is_on,
        "raise_at": limits.raise_at,
        "clear_at": limits.clear_at,
        "for_seconds": limits.for_seconds,
    }
    if limits == rule.limits:
        RuleLimits.objects.filter(rule=rule.name).delete()
    else:
        RuleLimits.objects.update_or_create(rule=rule.name, defaults=columns)
    audit.record(actor, "alert_rule.change", None, rule=rule.name, **columns)
    publish(Topic.ALERT)


def check(limits: Limits) -> None:
    """Raises ``AlertRefused`` with the field at fault."""
    for name, value in (("raise_at", limits.raise_at), ("clear_at", limits.clear_at)):
        if not (math.isfinite(value) and 0 <= value <= MOST):
            raise AlertRefused("invalid_limit", "It must be a number from 0 on.", name)
    if limits.clear_at >= limits.raise_at:
        raise AlertRefused("invalid_limit", "It must be below the limit at which the alert is raised.", "clear_at")
    if not (math.isfinite(limits.for_seconds) and 0 <= limits.for_seconds <= LONGEST_SECONDS):
        raise AlertRefused("invalid_limit", "It must be from 0 to 86,400 seconds, a day.", "for_seconds")
