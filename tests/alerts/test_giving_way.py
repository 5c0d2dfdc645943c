"""A look at many hosts lets a sample pass that is on its way to who looks at its host."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from models_app.alerts import evaluator
from models_app.alerts.evaluator import Evaluator
from models_app.alerts.rules.catalogue import RULES
from models_app.telemetry import precedence as precedence_module
from models_app.telemetry.precedence import precedence


def test_a_rule_waits_for_what_became_urgent_during_the_one_before(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence_module, "LONGEST_SECONDS", 60.0)
    is_sent: list[bool] = []
    seen: list[bool] = []

    def arrives(*_: Any) -> Iterable[Any]:
        def sent() -> None:
            is_sent.append(True)
            precedence.end(ticket)

        ticket = precedence.begin()
        threading.Timer(0.05, sent).start()
        return ()

    def looks(*_: Any) -> Iterable[Any]:
        seen.append(bool(is_sent))
        return ()

    monkeypatch.setattr(evaluator, "RULES", (replace(RULES[0], look=arrives), replace(RULES[1], look=looks)))
    Evaluator().evaluate()
    assert seen == [True]
