"""A plan for the screen: its verdict, its moves, what it does not meet, and the changes that would."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.plans import records
from models_app.plans.comparing import in_words
from models_app.plans.fleet import Fleet, fleet_of, label_of
from models_app.plans.freshness import differences, outdated_demands
from models_app.plans.models import Plan
from models_app.plans.records import GoalRow, Instance, PlanStep
from models_app.solver.result import Goal
from models_app.web.plan_bars import HostRows, host_rows
from models_app.web.plan_unmet import UnmetLine, unmet_lines

GOALS = {
    Goal.PINS: ("Pinned demands", "more is better: priority × 3 for each pinned instance on its GPUs"),
    Goal.RESIDENCY: ("Served", "more is better: priority × 3 for each instance on GPUs, × 1 with layers on the CPU"),
    Goal.QUALITY: ("Quality", "more is better: priority × 0 to 10, by the variant and the context"),
    Goal.LATENCY: ("Latency", "less is better: priority × milliseconds of a typical request, loads included"),
    Goal.DISRUPTION: ("Disruption", "less is better: priority of what is moved or unloaded"),
    Goal.BALANCE: ("Fullest GPU", "less is better: thousandths of the fullest GPU in use"),
}


@dataclass(frozen=True, slots=True)
class GoalLine:
    """A goal with its name, what it counts, and how its value compares with the greedy allocation's."""

    row: GoalRow
    title: str
    counts: str
    beats_greedy: bool

    @property
    def gap_percent(self) -> int:
        """How far it may be from the best, in percent, rounded up."""
        return -int(-100 * self.row.gap // 1)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an instance goes, in words; ``was`` says how it runs today, empty where it does not."""

    instance: Instance
    where: str
    was: str


@dataclass(frozen=True, slots=True)
class Move:
    """A step in words. ``after`` are the numbers, from 1, of the steps that it waits for."""

    step: PlanStep
    where: str
    after: tuple[int, ...]


@dataclass(frozen=True)
class PlanPage:
    """What the page shows."""

    plan: Plan
    fleet: Fleet
    hosts: tuple[HostRows, ...]
    goals: tuple[GoalLine, ...]
    unmet: tuple[UnmetLine, ...]
    placed: tuple[Placed, ...]
    moves: tuple[Move, ...]
    impossible: tuple[str, ...]
    difference: tuple[str, ...]
    news: tuple[str, ...]

    @property
    def key(self) -> str:
        """The plan's id as text."""
        return str(self.plan.pk)

    @property
    def before(self) -> str:
        """What the fleet as it was found is called: once the plan is made real, or no longer fits, it is in the past."""
        return "Today" if self.plan.state == Plan.State.DRAFT else "Before"

    @property
    def met(self) -> int:
        """How many demands are fully met."""
        return len(self.plan.demands) - len(self.unmet)

    @property
    def loads(self) -> int:
        """How many steps load something."""
        return sum(move.step.act == "load" for move in self.moves)

    @property
    def unloads(self) -> int:
        """How many steps unload something."""
        return len(self.moves) - self.loads

    @property
    def beats_greedy(self) -> bool:
        """Whether the first goal on which they differ is better than the greedy allocation's."""
        return next((goal.beats_greedy for goal in self.goals if goal.row.value != goal.row.baseline), False)

    @property
    def foreign(self) -> tuple[str, ...]:
        """Models of other clients that the plan unloads."""
        return tuple(
            move.step.instance.model for move in self.moves if move.step.act == "unload" and move.step.instance.foreign
        )


def plan_page(plan: Plan) -> PlanPage:
    """The page of a solved plan; of one that is not, only what is known."""
    fleet = fleet_of(plan.fleet)
    today, planned = records.instances(plan.today), records.instances(plan.instances)
    is_draft = plan.state == Plan.State.DRAFT
    return PlanPage(
        plan=plan,
        fleet=fleet,
        hosts=host_rows(fleet, today, planned, plan.swap_bytes),
        goals=tuple(_goal(row) for row in records.goals(plan.goals) if row.goal != Goal.PINS or row.bound),
        unmet=unmet_lines(plan, fleet),
        placed=tuple(_placed(each, fleet, today) for each in planned),
        moves=_moves(plan, fleet),
        impossible=tuple(in_words(each, fleet) for each in records.instances(plan.impossible)),
        difference=tuple(differences(plan) if is_draft else plan.difference),
        news=tuple(outdated_demands(plan)) if is_draft and not plan.changes else (),
    )


def _goal(row: GoalRow) -> GoalLine:
    goal = Goal(row.goal)
    title, counts = GOALS[goal]
    return GoalLine(row, title, counts, row.value > row.baseline if goal.maximised else row.value < row.baseline)


def _placed(instance: Instance, fleet: Fleet, today: tuple[Instance, ...]) -> Placed:
    same = (each for each in today if (each.endpoint_id, each.model) == (instance.endpoint_id, instance.model))
    was = next(same, None)
    stays = was is not None and (was.gpus, was.context_length) == (instance.gpus, instance.context_length)
    before = "stays as it is" if stays else in_words(was, fleet) if was else ""
    return Placed(instance, label_of(fleet.pool, instance.gpus) or f"{instance.host} · CPU", before)


def _moves(plan: Plan, fleet: Fleet) -> tuple[Move, ...]:
    found = []
    for step in records.steps(plan.steps):
        where = label_of(fleet.pool, step.instance.gpus) or f"{step.instance.host} · CPU"
        waits = set(step.after) - {earlier for number in step.after for earlier in plan.steps[number]["after"]}
        found.append(Move(step, where, tuple(number + 1 for number in sorted(waits))))
    return tuple(found)
