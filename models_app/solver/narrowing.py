"""A maximised goal from the top: a bound, then the placements just below it, among the few things that can be in them.

On many GPUs two searches go on side by side: one finds placements, by repacking a few GPUs (``repacking.py``) and then by
questions to CP-SAT (``looks.py``); the other lowers the bound part by part (``branching.py``). Whoever settles the goal
with less work is believed: the answer should depend on what was done, not on who was faster.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import copy
from math import floor as rounded_down
from math import isfinite

from models_app.solver.branching import Branching
from models_app.solver.looks import LITTLE, Looks
from models_app.solver.patterns import NOISE
from models_app.solver.relaxation import Relaxation
from models_app.solver.repacking import Repacking
from models_app.solver.result import Goal
from models_app.solver.standing import Standing

SHARE_OF_THE_BOUND = 0.5
"""Of a goal's work, what its bound may take before the search begins."""
SHARE_OF_REPACKING = 0.3
"""Of what is left then, what repacking may take before questions."""
FEW_GPUS = 4
"""With no more, windows of seats settle more than patterns."""


class Narrowing:
    """A goal's bound, and what is looked for below it."""

    def __init__(self, known: Standing, at: int, goal: Goal) -> None:
        self._known, self._at, self._goal = known, at, goal
        self._relaxation = Relaxation(known.problem, known.left(goal), goal, known.floors(at))

    def run(self, work: float) -> None:
        """Spends no more than ``work``."""
        known, until = self._known, self._known.work - work
        self._relaxation.start(known.assignments)
        self._relaxation.tighten(work * SHARE_OF_THE_BOUND, known.values[self._at], known.ends)
        known.spend(self._relaxation.seconds)
        if not isfinite(self._relaxation.bound):
            return
        known.bound(self._at, self._goal, rounded_down(self._relaxation.bound + NOISE))
        if known.proven(self._at):
            return
        if self._gpus() > FEW_GPUS:
            self._on_two_cores(until)
        else:
            root = self._relaxation.part()
            Looks(known, self._at, self._goal, self._relaxation.programme, root).run(until, pools=False)

    def _gpus(self) -> int:
        return sum(len(gpus.devices) for gpus in self._relaxation.programme.classes)

    def _on_two_cores(self, until: float) -> None:
        """Repacking first, which finds much at once, then questions; beside both, parts."""
        known, root = self._known, self._relaxation.part()
        looking, bounding = known.twin(), known.twin()
        branching = Branching(bounding, self._at, self._goal, self._relaxation)
        if root.bound - known.values[self._at] > LITTLE * root.bound:
            first = known.work - SHARE_OF_REPACKING * (known.work - until)
            self._side_by_side(Repacking(looking, self._at, self._goal), branching, first)
            looking.become(known)
            bounding.become(known)
        if known.goes_on(self._at, until):
            self._relaxation.narrow(root, known.values[self._at] + 1)
            looks = Looks(looking, self._at, self._goal, copy(self._relaxation.programme), root)
            self._side_by_side(looks, branching, until)

    def _side_by_side(self, finding: Repacking | Looks, branching: Branching, until: float) -> None:
        """Both with the same work; what they found and ruled out is known then."""
        looking, bounding = finding.known, branching.known
        with ThreadPoolExecutor(max_workers=1) as other_core:
            ended = other_core.submit(finding.run, until)
            branching.run(until, lambda: ended.done() and looking.proven(self._at) and bounding.work <= looking.work)
            if bounding.proven(self._at):
                finding.stop()
            ended.result()
        self._merge(looking, bounding)

    def _merge(self, looking: Standing, bounding: Standing) -> None:
        """Takes what the one found that settled the goal with less work, or what both found if neither did."""
        known, settled = self._known, [it for it in (bounding, looking) if it.proven(self._at)]
        best = max(settled, key=lambda it: it.work, default=None)
        for found in (looking, bounding) if best is None else (best,):
            known.take(found.assignments)
            known.bound(self._at, self._goal, found.bounds[self._at])
        known.work = min(looking.work, bounding.work) if best is None else best.work
