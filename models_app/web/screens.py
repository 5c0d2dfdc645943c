"""What sockets are fed: a screen is a set of page fragments by their element's id, the same for everybody in a role."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.template.loader import get_template

from models_app.accounts.roles import Role
from models_app.alerts.summary import summary
from models_app.live import Topic
from models_app.operations.fleet import fleet, read_rows
from models_app.operations.fleet_view import FleetView, HostView
from models_app.web.stories import Story, recent_stories


@dataclass(frozen=True, slots=True)
class Screen:
    """Fragments by id, and the ids that each list on the page holds, in order."""

    fragments: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def beside(self, fragments: dict[str, str]) -> Screen:
        """The same with further fragments."""
        return Screen(self.fragments | fragments, self.lists)

    def since(self, before: Screen) -> Screen:
        """Only what differs from ``before``."""
        fragments = {name: html for name, html in self.fragments.items() if before.fragments.get(name) != html}
        lists = {name: ids for name, ids in self.lists.items() if before.lists.get(name) != ids}
        return Screen(fragments, lists)


_host_memo: dict[tuple[int, Role], tuple[HostView, str]] = {}
"""Each host as it was rendered last: of many hosts, only those with news cost time."""


def _host_html(host: HostView, role: Role) -> str:
    before, html = _host_memo.get((host.id, role), (None, ""))
    if before != host or host.is_stale:  # an old sample's age is part of the text
        html = get_template("fleet/host.html").render({"host": host, "is_admin": role is Role.ADMIN})
        _host_memo[host.id, role] = host, html
    return html


def fleet_screen(view: FleetView, stories: list[Story], role: Role) -> Screen:
    """The live parts of the Fleet page."""

    def rendered(template: str, **context: object) -> str:
        return get_template(template).render(context | {"is_admin": role is Role.ADMIN})

    head = {"fleet-head": rendered("fleet/head.html", fleet=view)}
    hosts = {f"host-{host.id}": _host_html(host, role) for host in view.hosts}
    operations = {f"operation-{story.id}": rendered("components/operation.html", story=story) for story in stories}
    hosts = hosts or {"no-hosts": rendered("fleet/empty.html")}
    operations = operations or {"no-operations": rendered("fleet/no_operations.html")}
    return Screen(head | hosts | operations, {"fleet-hosts": list(hosts), "fleet-operations": list(operations)})


def alarm_fragments() -> dict[str, str]:
    """The bell and the banner of every page, the same for everybody."""
    alarm = summary()
    return {
        "alarm-bell": get_template("components/bell.html").render({"alarm": alarm}),
        "alarm-banner": get_template("components/alarm_banner.html").render({"alarm": alarm}),
    }


class Renderer:
    """A screen with the bell and nothing else: its pages fetch themselves again when they hear of an event."""

    _alarm: dict[str, str] | None = None

    def render(self, roles: set[Role], topics: set[str]) -> dict[Role, Screen]:
        """The screen as each role sees it, after events of these topics."""
        alarm = self.alarm(topics)
        return {role: Screen(alarm) for role in roles}

    def alarm(self, topics: set[str]) -> dict[str, str]:
        """The bell's fragments, made anew after an event that may concern them."""
        if self._alarm is None or topics - {Topic.TELEMETRY, Topic.OPERATION}:
            self._alarm = alarm_fragments()
        return self._alarm

    def prepare(self) -> None:
        """Whatever makes the next rendering quicker; called when everybody has been served."""


class FleetRenderer(Renderer):
    """The Fleet page. After a mere sample it reads only samples: the other rows were read after the last rendering."""

    def __init__(self) -> None:
        self._read()

    def render(self, roles: set[Role], topics: set[str]) -> dict[Role, Screen]:
        """Each part once per role."""
        if topics != {Topic.TELEMETRY}:
            self._read()
        view, alarm = fleet(self._rows), self.alarm(topics)
        return {role: fleet_screen(view, self._stories, role).beside(alarm) for role in roles}

    def prepare(self) -> None:
        """Read what no event told of."""
        self._read()

    def _read(self) -> None:
        self._rows, self._stories = read_rows(), recent_stories()


SCREENS: dict[str, type[Renderer]] = {"fleet": FleetRenderer, "events": Renderer}
"""By name, as in the socket's address."""
