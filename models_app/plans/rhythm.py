"""What happens to plans without anybody asking, once a second: applies are followed, schedules fire, drift is corrected."""

from __future__ import annotations

from models_app.plans.applying import settle
from models_app.plans.enforcing import enforce
from models_app.plans.scheduling import run_due


def tick() -> None:
    """Do everything that is due."""
    settle()
    run_due()
    enforce()
