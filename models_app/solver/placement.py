"""Places all demands on all devices at once: always an answer in bounded time, and how good it is."""

from __future__ import annotations

import time

from models_app.solver.advice import spill_warnings, unmet
from models_app.solver.goals import used_bytes, values
from models_app.solver.greedy import best_start, greedy
from models_app.solver.result import Placement
from models_app.solver.types import Problem
from models_app.solver.validate import validate

DEFAULT_SECONDS = 1.0
SHARE_OF_THE_SEARCH = 0.9
"""Of the clock; the rest is for reading the answer and for a solver that ends a little late."""


def place(problem: Problem, seconds: float = DEFAULT_SECONDS, wall_seconds: float | None = None) -> Placement:
    """The best placement found within about ``seconds``; its goals say whether it is proven and else how far it may be.

    ``wall_seconds``, by default the same, bounds the clock where other work takes the processor away.
    Starts from the better of two greedy placements and never answers worse. Raises ``InvalidProblem``.
    """
    from models_app.solver.search import Search  # noqa: PLC0415 - OR-Tools takes 0.6 s to import; only who plans pays

    ends = time.monotonic() + (wall_seconds or seconds) * SHARE_OF_THE_SEARCH
    validate(problem)
    baseline = greedy(problem)
    start = best_start(problem, baseline)
    found = Search(problem, start, seconds, ends).run()
    _, swap = used_bytes(problem, found.assignments)
    return Placement(
        found.assignments,
        swap,
        found.goals,
        baseline=values(problem, baseline),
        unmet=unmet(problem, found.assignments),
        warnings=spill_warnings(found.assignments),
    )
