"""One way to search, filter, sort and page the lists of every page, by the parameters of the REST API.

``?page=2&per_page=50`` (at most 200), ``?sort=name`` or ``?sort=-name``, ``?q=text`` and the list's filters by name. Where
the API refuses what cannot be asked, a page falls back to its default: a reader must not be stopped by an old link.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, QueryDict

PER_PAGE, MOST_PER_PAGE, MOST_WORDS, MOST_CHARACTERS = 50, 200, 10, 100
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as a page shows it: its parameter, its label, the choices (value, text), and the one in force."""

    name: str
    label: str
    choices: tuple[tuple[str, str], ...]
    chosen: str = ""


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """One page of a list and what was asked for."""

    page: Page[Row]
    order: str
    q: str
    filters: tuple[Filter, ...]

    @property
    def is_narrowed(self) -> bool:
        """Whether a search or a filter hides rows."""
        return bool(self.q or any(each.chosen for each in self.filters))


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """How a list may be asked: public name → database field, for sorting, filtering and searching."""

    sorts: Mapping[str, str]
    default_sort: str
    searches: tuple[str, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    per_page: int = PER_PAGE

    def page(self, request: HttpRequest, rows: QuerySet[Row], *offered: Filter) -> Listed[Row]:
        """The asked page of ``rows``, narrowed by the ``offered`` filters."""
        return self.asked(request.GET, rows, *offered)

    def asked(self, asked: QueryDict, rows: QuerySet[Row], *offered: Filter) -> Listed[Row]:
        """As ``page``, by the parameters alone."""
        q = asked.get("q", "").replace("\x00", "").strip()
        filters = tuple(_chosen(each, asked.get(each.name, "")) for each in offered)
        wanted = {self.filters[each.name]: each.chosen for each in filters if each.chosen}
        found = rows.filter(self._matches(q), **wanted)
        order = asked.get("sort", "")
        order = order if order.removeprefix("-") in self.sorts else self.default_sort
        column = self.sorts[order.removeprefix("-")]
        found = found.order_by(f"-{column}" if order.startswith("-") else column, "-pk")
        pages = Paginator(found, _per_page(asked.get("per_page", ""), self.per_page))
        return Listed(pages.get_page(asked.get("page", "1")), order, q, filters)

    def _matches(self, q: str) -> Q:
        """Every word is somewhere in one of the columns."""
        matches = Q()
        for word in q.split()[:MOST_WORDS]:
            anywhere = Q()
            for column in self.searches:
                anywhere |= Q(**{f"{column}__icontains": word[:MOST_CHARACTERS]})
            matches &= anywhere
        return matches


def _chosen(offered: Filter, value: str) -> Filter:
    known = value if value in dict(offered.choices) else ""
    return Filter(offered.name, offered.label, offered.choices, known)


def _per_page(text: str, default: int) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 5
    return min(max(1, int(text)), MOST_PER_PAGE) if is_number else default
