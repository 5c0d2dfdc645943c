"""One way to page, filter and sort every list.

``?page=2&per_page=50`` (at most 200), ``?sort=name,-created_at``, ``?q=text``, and the list's own filters by name. A field,
filter or page that does not exist is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from pydantic import BaseModel

from models_app.api.errors import Problem

PER_PAGE, MOST_PER_PAGE, MOST_PAGES = 50, 200, 1_000_000
MOST_ID = 2**62
PAGING = frozenset({"page", "per_page", "sort"})
Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list; ``next`` and ``previous`` are addresses or null.

    Pages and their items are plain pydantic models: ninja's ``Schema`` reads each member of each row through Python, which
    took four fifths of a long list's time.
    """

    items: list[Item]
    page: int
    per_page: int
    total: int
    next: str | None
    previous: str | None


@dataclass(frozen=True)
class Columns:
    """The members of what a list shows, each with the column that it is read from."""

    lookups: Mapping[str, str]

    @classmethod
    def of(cls, shown: type[BaseModel], *, without: Container[str] = (), **lookups: str) -> Columns:
        """A column for each member of ``shown``, of the same name unless ``lookups`` has another; further ones by name."""
        return cls({name: name for name in shown.model_fields if name not in without} | lookups)

    def read(self, rows: QuerySet[Any]) -> list[dict[str, Any]]:
        """The rows as the members' plain values."""
        return [dict(zip(self.lookups, row, strict=True)) for row in rows.values_list(*self.lookups.values())]

    def shown(self, row: Model) -> dict[str, Any]:
        """The members of a row that is in memory with what it is joined to."""
        return {name: reduce(_member, lookup.split("__"), row) for name, lookup in self.lookups.items()}

    def one(self, rows: QuerySet[Any]) -> dict[str, Any]:
        """The only row. Raises Http404 where there is none."""
        for found in self.read(rows):
            return found
        raise Http404(f"No {rows.model._meta.verbose_name} has that id.")


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """How one list may be asked: public name → database field, for sorting, filtering and searching.

    A sort may name several fields with commas, such as those of an index that spares the database the sorting.
    """

    sorts: Mapping[str, str]
    default_sort: str
    filters: Mapping[str, str] = field(default_factory=dict)
    searches: tuple[str, ...] = ()
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    to_many: frozenset[str] = frozenset()
    """Filters that join several rows to one: their results are made distinct."""
    further: frozenset[str] = frozenset()
    """Parameters that the list takes and reads by itself."""

    def describe(self) -> dict[str, Any]:
        """The parameters for the OpenAPI description of a list."""
        page = {"type": "integer", "minimum": 1, "maximum": MOST_PAGES, "default": 1}
        per_page = {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": PER_PAGE}
        names = "|".join(sorted(self.sorts))
        more = f"{{0,{len(self.sorts) - 1}}}"
        sort = {"type": "string", "default": self.default_sort, "pattern": f"^-?({names})(,-?({names})){more}$"}
        parameters = [_parameter("page", page), _parameter("per_page", per_page), _parameter("sort", sort)]
        if self.searches:
            parameters.append(_parameter("q", {"type": "string"}))
        for name, lookup in self.filters.items():
            parameters.append(_parameter(name, self._kind(name, lookup)))
        return {"parameters": parameters}

    def _kind(self, name: str, lookup: str) -> dict[str, Any]:
        if _is_flag(name):
            return {"type": "boolean"}
        if _is_number(lookup):
            return {"type": "integer", "minimum": 1, "maximum": MOST_ID}
        if name in self.choices:
            return {"type": "string", "enum": sorted(self.choices[name])}
        return {"type": "string", "pattern": r"^[^\x00]*$"}

    def page(self, request: HttpRequest, rows: QuerySet[Row], show: Callable[[Row], Item]) -> dict[str, Any]:
        """The asked page of ``rows``. Raises Problem 422 for what cannot be asked."""
        ids, page = self._asked(request, rows)
        by_id = {row.pk: row for row in rows.filter(pk__in=ids).order_by()}
        return {"items": [show(by_id[pk]) for pk in ids if pk in by_id], **page}

    def table(self, request: HttpRequest, rows: QuerySet[Row], columns: Columns) -> dict[str, Any]:
        """As ``page``, of plain values: making an object of each row takes more time than the database does."""
        ids, page = self._asked(request, rows)
        by_id = {item["id"]: item for item in columns.read(rows.filter(pk__in=ids).order_by())}
        return {"items": [by_id[pk] for pk in ids if pk in by_id], **page}

    def _asked(self, request: HttpRequest, rows: QuerySet[Row]) -> tuple[list[int], dict[str, Any]]:
        """The ids of the asked page in its order, and the page's other members.

        The database sorts and skips bare ids: whole rows, with what is joined to them, weigh more.
        """
        asked = request.GET
        known_names = PAGING | self.further | set(self.filters) | ({"q"} if self.searches else set())
        unknown = set(asked) - known_names
        if unknown:
            known = ", ".join(sorted(known_names))
            raise _invalid(min(unknown), f"There is no such parameter; there are: {known}.")
        number = _number(asked.get("page", "1"), "page", MOST_PAGES)
        per_page = _number(asked.get("per_page", str(PER_PAGE)), "per_page", MOST_PER_PAGE)
        found = self._sorted(self._found(rows, request), asked.get("sort", self.default_sort))
        total = found.count()
        start = (number - 1) * per_page
        bare = found.select_related(None).prefetch_related(None).values_list("pk", flat=True)
        return list(bare[start : start + per_page]), {
            "page": number,
            "per_page": per_page,
            "total": total,
            "next": _address(request, number + 1) if start + per_page < total else None,
            "previous": _address(request, number - 1) if number > 1 else None,
        }

    def _found(self, rows: QuerySet[Row], request: HttpRequest) -> QuerySet[Row]:
        for name, lookup in self.filters.items():
            if name in request.GET:
                rows = rows.filter(**{lookup: self._value(name, lookup, request.GET[name])})
                rows = rows.distinct() if name in self.to_many else rows
        words = request.GET.get("q", "").replace("\x00", "").split()[:10] if self.searches else []
        for word in words:
            matches = Q()
            for lookup in self.searches:
                matches |= Q(**{f"{lookup}__icontains": word[:100]})
            rows = rows.filter(matches)
        return rows

    def _value(self, name: str, lookup: str, text: str) -> Any:
        if _is_flag(name):
            if text not in {"true", "false"}:
                raise _invalid(name, "It must be true or false.")
            return text == "true"
        if _is_number(lookup):
            return _number(text, name, MOST_ID)
        if name in self.choices and text not in self.choices[name]:
            raise _invalid(name, f"It must be one of: {', '.join(sorted(self.choices[name]))}.")
        if "\x00" in text:
            raise _invalid(name, "It must not hold a NUL character.")
        return text

    def _sorted(self, rows: QuerySet[Row], wanted: str) -> QuerySet[Row]:
        words = wanted.split(",")
        if len(words) > len(self.sorts):
            raise _invalid("sort", "It names a field more than once.")
        order = []
        for word in words:
            name = word.removeprefix("-")
            if name not in self.sorts:
                raise _invalid("sort", f"It must name some of: {', '.join(sorted(self.sorts))}.")
            order += [("-" if word.startswith("-") else "") + column for column in self.sorts[name].split(",")]
        return rows.order_by(*order, "pk")


def _member(value: Any, name: str) -> Any:
    return None if value is None else getattr(value, name)


def _is_flag(name: str) -> bool:
    return name.startswith("is_") or name in {"pinned", "present"}


def _is_number(lookup: str) -> bool:
    return lookup == "id" or lookup.endswith("_id")


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _number(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not 1 <= int(text) <= most:
        raise _invalid(name, f"It must be a whole number from 1 to {most}.")
    return int(text)


def _address(request: HttpRequest, page: int) -> str:
    query = request.GET.copy()
    query["page"] = str(page)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


def _invalid(name: str, message: str) -> Problem:
    return Problem(422, "invalid_parameter", f"{name}: {message}", field=name)
