"""The page of one host: what the Fleet page shows of it, and besides what else it reports, its alerts and operations."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.accounts.roles import Role
from models_app.inventory.models import Host
from models_app.operations.fleet import Rows, host_view, read_rows
from models_app.operations.fleet_view import HostView
from models_app.telemetry.latest import Latest, latest
from models_app.web.alert_story import AlertStory
from models_app.web.host_report import Section, host_report
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
from models_app.web.stories import Story, recent_stories


@dataclass(frozen=True, slots=True)
class HostRows:
    """Everything that the page is made of but the newest sample; ``host`` is ``None`` once it has been removed."""

    host: Host | None
    rows: Rows
    stories: list[Story]
    alerts: list[AlertStory]


@dataclass(frozen=True, slots=True)
class HostPage:
    """One host with what its newest sample says."""

    host: Host
    view: HostView
    report: tuple[Section, ...]
    stories: list[Story]
    alerts: list[AlertStory]

    @property
    def can_start_servers(self) -> bool:
        """Whether something of Berth runs there."""
        agent = getattr(self.host, "agent", None)
        return self.host.is_local or (agent is not None and agent.revoked_at is None)


def read_host(host_id: int) -> HostRows:
    """The rows as they are now."""
    host = Host.objects.select_related("agent").filter(pk=host_id).first()
    return HostRows(host, read_rows([host_id]), recent_stories(host_id=host_id), open_alerts(host_id))


def read_newest(found: HostRows) -> Latest | None:
    """The host's newest sample, where there is one."""
    return latest(found.host) if found.host else None


def host_page(found: HostRows, newest: Latest | None) -> HostPage | None:
    """The page with the newest sample; ``None`` once the host has been removed."""
    if found.host is None or not found.rows.hosts:
        return None
    view = host_view(found.rows.hosts[0], found.rows, newest)
    report = host_report(newest.sample) if newest else ()
    return HostPage(found.host, view, report, found.stories, found.alerts)


class HostRenderer(RowsRenderer):
    """The page of one host."""

    _page: HostPage | None = None

    def __init__(self, host_id: int) -> None:
        self._host_id, self.host_ids = host_id, (host_id,)
        super().__init__()

    def read(self) -> None:
        """The host's rows, operations and alerts."""
        self._found = read_host(self._host_id)

    def screens(self, roles: set[Role]) -> dict[Role, Screen]:
        """The host's card, its details, and each operation and alert as a fragment of its own."""
        newest = self.newest({row.host_id: row for row in [read_newest(self._found)] if row})
        self._page = host_page(self._found, newest.get(self._host_id))
        if self._page is None:
            return {role: Screen({}, {"host-card": []}) for role in roles}
        return {role: self._screen(self._page, role) for role in roles}

    def update(self, roles: set[Role], newest: Latest) -> dict[Role, dict[str, str]]:
        """The card and the details."""
        if self._page is None or not is_newer(newest, self._page.view):
            return {}
        self._shown[newest.host_id] = newest
        page = self._page = host_page(self._found, newest)
        return {role: self._measured(page, role) for role in roles} if page else {}

    def _measured(self, page: HostPage, role: Role) -> dict[str, str]:
        return host_fragments([page.view], role) | {"host-details": rendered("hosts/details.html", role, page=page)}

    def _screen(self, page: HostPage, role: Role) -> Screen:
        operations, alerts = operation_fragments(page.stories, role), alert_fragments(page.alerts, role)
        lists = {"host-card": [f"host-{page.host.pk}"], "host-operations": list(operations), "host-alerts": list(alerts)}
        return Screen(self._measured(page, role) | operations | alerts, lists)
