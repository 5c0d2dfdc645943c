"""The page of one host: what the Fleet page shows of it, and besides what else it reports, its alerts and operations."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.accounts.roles import Role
from models_app.inventory.models import Host
from models_app.operations.fleet import Rows, fleet, read_rows
from models_app.operations.fleet_view import HostView
from models_app.telemetry.latest import latest_by_host
from models_app.web.alert_story import AlertStory
from models_app.web.host_report import Section, host_report
from models_app.web.screens import (
    RowsRenderer,
    Screen,
    alert_fragments,
    host_fragments,
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


def read_host(host_id: int) -> HostRows:
    """The rows as they are now."""
    host = Host.objects.select_related("agent").filter(pk=host_id).first()
    return HostRows(host, read_rows([host_id]), recent_stories(host_id=host_id), open_alerts(host_id))


def host_page(found: HostRows) -> HostPage | None:
    """The page with the newest sample; ``None`` once the host has been removed."""
    if found.host is None or not found.rows.hosts:
        return None
    samples = latest_by_host([found.host.pk])
    newest = samples.get(found.host.pk)
    [view] = fleet(found.rows, samples).hosts
    report = host_report(newest.sample) if newest else ()
    return HostPage(found.host, view, report, found.stories, found.alerts)


class HostRenderer(RowsRenderer):
    """The page of one host."""

    def __init__(self, host_id: int) -> None:
        self._host_id, self.host_ids = host_id, (host_id,)
        super().__init__()

    def read(self) -> None:
        """The host's rows, operations and alerts."""
        self._found = read_host(self._host_id)

    def screens(self, roles: set[Role]) -> dict[Role, Screen]:
        """The host's card, its details, and each operation and alert as a fragment of its own."""
        page = host_page(self._found)
        if page is None:
            return {role: Screen({}, {"host-card": []}) for role in roles}
        return {role: self._screen(page, role) for role in roles}

    def _screen(self, page: HostPage, role: Role) -> Screen:
        details = {"host-details": rendered("hosts/details.html", role, page=page)}
        card = host_fragments([page.view], role)
        operations, alerts = operation_fragments(page.stories, role), alert_fragments(page.alerts, role)
        lists = {"host-card": list(card), "host-operations": list(operations), "host-alerts": list(alerts)}
        return Screen(card | details | operations | alerts, lists)
