"""What happens to plans without anybody asking, once a second: applies are followed, schedules fire, drift is corrected."""

from __future__ import annotations

from models_app.plans.applying import settle
from models_app.plans.enforcing import enforce
from models_app.plans.scheduling import run_due


def tick() -> None:
    """Do everything that is due. What fails keeps nothing else from being done; an ``ExceptionGroup`` tells of it after."""
    failures = []
    for step in (settle, run_due, enforce):
        try:
            step()
        except Exception as error:  # told below
            failures.append(error)
    if failures:
        raise ExceptionGroup("not everything about plans was done", failures)
