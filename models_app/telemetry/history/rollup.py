"""From seconds to steps of 10 s, 1 min and 1 h: how many samples, and of each figure the least, mean, greatest and p95.

The column of a statistic is its name, a bar and the figure's column: ``p95|used``. All three resolutions of an hour are
made from its seconds, so their p95 is exact (nearest rank). Where steps are merged afterwards, the p95 of several is the
greatest of theirs: at least 95 % of the samples lie at or below it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from operator import mul
from typing import TypeAlias

from models_app.telemetry.history.tables import UNKNOWN, Table, numbers

HOUR_SECONDS = 3600
RESOLUTIONS = (10, 60, HOUR_SECONDS)
"""The steps that are kept, in seconds, beside the samples themselves."""
IDENTITY = frozenset({"boot", "sequence"})
"""Columns that tell samples apart and are no figures."""
STATISTICS = ("min", "mean", "max", "p95")
COUNT = "count"

Figures = tuple[float, float, float, float]
Values: TypeAlias = "array[float]"
Cell = tuple[float, int, int]
NOTHING: Figures = (UNKNOWN,) * 4


def figures_of(table: Table) -> list[str]:
    """The figures of a table of seconds, or of one of steps, by column."""
    if COUNT in table.columns:
        return list(dict.fromkeys(name.partition("|")[2] for name in table.columns if name != COUNT))
    return [name for name in table.columns if name not in IDENTITY]


def columns_of(figures: Iterable[str]) -> frozenset[str]:
    """The columns that tell of these figures, in tables of seconds and in those of steps."""
    return frozenset({COUNT, *(column for figure in figures for column in (figure, *_statistics(figure)))})


def summarize(seconds: Table, step_seconds: int) -> Table:
    """Steps of samples. A step without a sample has no row."""
    cells = list(seconds.cells(step_seconds))
    steps = _steps(cells, (last - first for _, first, last in cells))
    for name in figures_of(seconds):
        column = seconds.columns[name]
        _add(steps, name, (_figures(column[first:last]) for _, first, last in cells))
    return steps


def merge(steps: Table, step_seconds: int) -> Table:
    """Coarser steps of finer ones."""
    cells = list(steps.cells(step_seconds))
    counts = steps.columns.get(COUNT, steps.times)
    coarse = _steps(cells, (sum(counts[first:last]) for _, first, last in cells))
    for name in figures_of(steps):
        columns = [*statistics_of(steps, name), counts]
        _add(coarse, name, (_merged(*(column[first:last] for column in columns)) for _, first, last in cells))
    return coarse


def statistics_of(steps: Table, figure: str) -> list[array[float]]:
    """The columns of a figure's statistics, in the order of ``STATISTICS``."""
    return [steps.columns[column] for column in _statistics(figure)]


def overall(table: Table) -> tuple[int, dict[str, Figures]]:
    """How many samples are behind a table of seconds or of steps, and each figure's statistics over all of it.

    A figure that is nowhere known is left out.
    """
    if not len(table):
        return 0, {}
    counts = table.columns.get(COUNT)
    if counts is None:
        found = {name: _figures(table.columns[name]) for name in figures_of(table)}
    else:
        found = {name: _merged(*[*statistics_of(table, name), counts]) for name in figures_of(table)}
    known = {name: figures for name, figures in found.items() if figures != NOTHING}
    return len(table) if counts is None else round(sum(counts)), known


def refill(seconds: Table, sealed: Mapping[int, Table]) -> dict[int, Table]:
    """One hour's steps by resolution, from samples that came after the hour's other samples had been deleted.

    The ``sealed`` steps of those stay as they are; only what is empty is filled, for nothing tells a sample that is there
    already from one that is not.
    """
    filled = {resolution: fill(steps, summarize(seconds, resolution)) for resolution, steps in sealed.items()}
    return filled | {HOUR_SECONDS: merge(filled[min(filled)], HOUR_SECONDS)}


def fill(steps: Table, news: Table) -> Table:
    """The steps, and those of ``news`` where there were none."""
    known = set(steps.times)
    whole = Table()
    whole.extend(steps)
    whole.extend(news.chosen(row for row, time in enumerate(news.times) if time not in known))
    return whole.ordered()


def _steps(cells: list[Cell], counts: Iterable[float]) -> Table:
    return Table(numbers(start for start, _, _ in cells), {COUNT: numbers(counts)})


def _add(steps: Table, figure: str, found: Iterable[Figures]) -> None:
    for column, values in zip(_statistics(figure), zip(*found, strict=True), strict=False):
        steps.columns[column] = numbers(values)


def _statistics(figure: str) -> list[str]:
    return [f"{statistic}|{figure}" for statistic in STATISTICS]


def _figures(values: Values) -> Figures:
    ranked = sorted(values)
    if ranked[0] < 0:
        ranked = [value for value in ranked if value >= 0]
        if not ranked:
            return NOTHING
    return ranked[0], sum(ranked) / len(ranked), ranked[-1], ranked[math.ceil(0.95 * len(ranked)) - 1]


def _merged(least: Values, mean: Values, greatest: Values, p95: Values, counts: Values) -> Figures:
    if min(least) < 0:
        known = [row for row, value in enumerate(least) if value >= 0]
        if not known:
            return NOTHING
        least, mean, greatest, p95, counts = (
            numbers(column[row] for row in known) for column in (least, mean, greatest, p95, counts)
        )
    return min(least), sum(map(mul, mean, counts)) / sum(counts), max(greatest), max(p95)
