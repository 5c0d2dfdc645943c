"""The Fleet page, live: a page of the hosts, their operations and what is wrong with them."""

from __future__ import annotations

from django.http import QueryDict

from models_app.accounts.roles import Role
from models_app.operations.fleet import host_view, read_rows, sums_of
from models_app.operations.fleet_view import FleetView, HostView
from models_app.telemetry.latest import Latest, latest_by_host
from models_app.web.fleet_page import FleetPage, fleet_page
from models_app.web.screens import (
    RowsRenderer,
    Screen,
    alert_fragments,
    host_fragments,
    is_newer,
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
        self._views: dict[int, HostView] = {}
        super().__init__()

    def read(self) -> None:
        """The page's hosts, their rows, operations and alerts."""
        self._page = fleet_page(self._query, self._page)
        self.host_ids = self._page.host_ids
        self._rows = read_rows(self.host_ids)
        self._stories, self._alerts = recent_stories(), open_alerts()

    def screens(self, roles: set[Role]) -> dict[Role, Screen]:
        """Each host, operation and alert as a fragment of its own."""
        samples = self.newest(latest_by_host(self.host_ids))
        self._views = {host.pk: host_view(host, self._rows, samples.get(host.pk)) for host in self._rows.hosts}
        view = self._view()
        return {role: self._screen(view, role) for role in roles}

    def update(self, roles: set[Role], newest: Latest) -> dict[Role, dict[str, str]]:
        """The host and the sums."""
        views, rows = self._views, self._rows
        host = next((host for host in rows.hosts if host.pk == newest.host_id), None)
        if host is None or not is_newer(newest, views.get(host.pk)):
            return {}
        self._shown[newest.host_id] = newest
        found = views[host.pk] = host_view(host, rows, newest)
        view = self._view()
        return {role: self._head(view, role) | host_fragments([found], role) for role in roles}

    def _view(self) -> FleetView:
        hosts = tuple(self._views.values())
        view = FleetView(hosts, sums_of(hosts))
        return self._page.with_sums(view) if self._page else view

    def _head(self, view: FleetView, role: Role) -> dict[str, str]:
        return {"fleet-head": rendered("fleet/head.html", role, fleet=view)}

    def _screen(self, view: FleetView, role: Role) -> Screen:
        hosts = host_fragments(view.hosts, role)
        if not hosts and not (self._page and self._page.is_part):
            hosts = {"no-hosts": rendered("fleet/empty.html", role)}
        operations, alerts = operation_fragments(self._stories, role), alert_fragments(self._alerts, role)
        lists = {"fleet-hosts": list(hosts), "fleet-operations": list(operations), "fleet-alerts": list(alerts)}
        return Screen(self._head(view, role) | hosts | operations | alerts, lists)
