"""No rule has anything to say of a healthy fleet, nor of none at all; and every rule explains itself."""

from __future__ import annotations

import pytest

from models_app.alerts.rules.catalogue import RULE_BY_NAME, RULES
from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.past import Past
from tests.alerts.rules.healthy import NOON, Watch, facts

NAMES = list(RULE_BY_NAME)


@pytest.mark.parametrize("name", NAMES)
def test_a_healthy_fleet_raises_nothing_in_an_hour(name):
    watch = Watch(name)
    assert [watch.see(facts(after_seconds=30 * number)) for number in range(120)] == [[]] * 120


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_fleet_is_read_without_error(name):
    rule = RULE_BY_NAME[name]
    nothing = Facts(NOON)
    assert list(rule.look(nothing, Past().after(nothing), rule.limits)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_has_limits_that_make_sense(rule):
    assert rule.limits.clear_at < rule.limits.raise_at
    assert rule.meaning.endswith(".")


def test_rules_have_names_of_their_own():
    assert len(RULE_BY_NAME) == len(RULES)
