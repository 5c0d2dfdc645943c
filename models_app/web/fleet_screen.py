"""The Fleet page, live: a page of the hosts, their operations and what is wrong with them."""

from __future__ import annotations

from django.http import QueryDict

from models_app.accounts.roles import Role
from models_app.operations.fleet import fleet, read_rows
from models_app.operations.fleet_view import FleetView
from models_app.web.fleet_page import FleetPage, fleet_page
from models_app.web.screens import (
    RowsRenderer,
    Screen,
    alert_fragments,
    host_fragments,
    open_alerts,
    operation_fragments,
    rendered,
)
from models_app.web.stories import recent_stories


class FleetRenderer(RowsRenderer):
    """One page of the fleet, by the parameters of its address."""

    _page: FleetPage | None = None

    def __init__(self, query: QueryDict) -> None:
        self._query = query
        super().__init__()

    def read(self) -> None:
        """The page's hosts, their rows, operations and alerts."""
        self._page = fleet_page(self._query, self._page)
        self.host_ids = self._page.host_ids
        self._rows = read_rows(self.host_ids)
        self._stories, self._alerts = recent_stories(), open_alerts()

    def screens(self, roles: set[Role]) -> dict[Role, Screen]:
        """Each host, operation and alert as a fragment of its own."""
        view = fleet(self._rows)
        view = self._page.with_sums(view) if self._page else view
        return {role: self._screen(view, role) for role in roles}

    def _screen(self, view: FleetView, role: Role) -> Screen:
        head = {"fleet-head": rendered("fleet/head.html", role, fleet=view)}
        hosts = host_fragments(view.hosts, role)
        if not hosts and not (self._page and self._page.is_part):
            hosts = {"no-hosts": rendered("fleet/empty.html", role)}
        operations, alerts = operation_fragments(self._stories, role), alert_fragments(self._alerts, role)
        lists = {"fleet-hosts": list(hosts), "fleet-operations": list(operations), "fleet-alerts": list(alerts)}
        return Screen(head | hosts | operations | alerts, lists)
