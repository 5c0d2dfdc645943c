"""What sockets are fed: a screen is a set of page fragments by their element's id, the same for everybody in a role."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.template.loader import get_template
from django.utils import timezone

from models_app.accounts.roles import Role
from models_app.alerts.summary import heard, summary, worst_first
from models_app.live import Topic
from models_app.operations.fleet_view import HostView
from models_app.telemetry.latest import Latest, is_stale
from models_app.web.alert_story import AlertStory, alert_stories
from models_app.web.patches import Patch, patch
from models_app.web.stories import Story


@dataclass(frozen=True, slots=True)
class Screen:
    """Fragments by id, and the ids that each list on the page holds, in order."""

    fragments: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def beside(self, fragments: dict[str, str]) -> Screen:
        """The same with further fragments."""
        return Screen(self.fragments | fragments, self.lists)

    def with_newer(self, fragments: dict[str, str]) -> Screen:
        """The same with a newer text of those fragments that it has."""
        return Screen({name: fragments.get(name, html) for name, html in self.fragments.items()}, self.lists)

    def since(self, before: Screen, *, in_patches: bool = True) -> Change:
        """Only what differs from ``before``, of each fragment as little as it takes, or whole fragments."""
        change = Change(lists={name: ids for name, ids in self.lists.items() if before.lists.get(name) != ids})
        for name, html in self.fragments.items():
            known = before.fragments.get(name)
            if known == html:
                continue
            small = patch(known, html) if in_patches and known is not None else None
            if small is None:
                change.fragments[name] = html
            else:
                change.patches[name] = small
        return change

    def whole(self) -> Change:
        """Everything, for a socket that has nothing yet."""
        return Change(self.fragments, {}, self.lists)


@dataclass(frozen=True, slots=True)
class Change:
    """What sockets are sent of a screen: whole fragments, patches of others, and lists whose order has changed."""

    fragments: dict[str, str] = field(default_factory=dict)
    patches: dict[str, Patch] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fragments or self.patches or self.lists)

    def message(self, revision: int, after: int | None, topics: list[str]) -> str:
        """As JSON. ``after`` is the revision of the message before, by which the page notices a gap; ``None`` starts
        afresh.
        """
        parts: dict[str, object] = {"revision": revision, "after": after, "topics": topics}
        parts |= {"fragments": self.fragments, "patches": self.patches, "lists": self.lists}
        return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)


MOST_ALERTS = 5
"""In a card beside the hosts; the Alerts page has them all."""
_host_memo: dict[tuple[int, Role], tuple[HostView, str]] = {}
"""Each host as it was rendered last: of many hosts, only those with news cost time."""
MOST_REMEMBERED = 4096
"""Hosts as roles see them, before all are forgotten: those that were removed are never asked for again."""


def _host_html(host: HostView, role: Role) -> str:
    before, html = _host_memo.get((host.id, role), (None, ""))
    if before != host or host.is_stale:  # an old sample's age is part of the text
        html = get_template("fleet/host.html").render({"host": host, "is_admin": role is Role.ADMIN})
        if len(_host_memo) >= MOST_REMEMBERED:
            _host_memo.clear()
        _host_memo[host.id, role] = host, html
    return html


def rendered(template: str, role: Role, **context: object) -> str:
    """A fragment as the role sees it."""
    return get_template(template).render(context | {"is_admin": role is Role.ADMIN})


def host_fragments(hosts: Iterable[HostView], role: Role) -> dict[str, str]:
    """Each host's card by its id."""
    return {f"host-{host.id}": _host_html(host, role) for host in hosts}


def is_newer(newest: Latest, shown: HostView | None) -> bool:
    """Whether its host is shown, and as an older sample has it."""
    return shown is not None and (shown.sampled_at is None or newest.sample.taken_at > shown.sampled_at)


def is_ahead(shown: Latest, row: Latest | None, now: datetime) -> bool:
    """Whether a sample that was shown from memory is newer than the row; not for longer than a sample is believed."""
    taken_at = shown.sample.taken_at
    return row is not None and row.sample.taken_at < taken_at <= now and not is_stale(taken_at, now)


def operation_fragments(stories: list[Story], role: Role) -> dict[str, str]:
    """Each operation's line by its id, or that there is none."""
    lines = {f"operation-{story.id}": rendered("components/operation.html", role, story=story) for story in stories}
    return lines or {"no-operations": rendered("fleet/no_operations.html", role)}


def alert_fragments(stories: list[AlertStory], role: Role) -> dict[str, str]:
    """Each alert's line by its id, or that there is none."""
    lines = {f"alarm-{story.alert.pk}": rendered("components/alarm.html", role, story=story) for story in stories}
    return lines or {"no-alarms": rendered("components/no_alarms.html", role)}


def open_alerts(host_id: int | None = None) -> list[AlertStory]:
    """The worst open alerts that are not muted, of one host or of all."""
    alerts = heard() if host_id is None else heard().filter(host=host_id)
    return alert_stories(worst_first(alerts)[:MOST_ALERTS])


def alarm_fragments() -> dict[str, str]:
    """The bell and the banner of every page, the same for everybody."""
    alarm = summary()
    return {
        "alarm-bell": get_template("components/bell.html").render({"alarm": alarm}),
        "alarm-banner": get_template("components/alarm_banner.html").render({"alarm": alarm}),
    }


class Renderer:
    """A screen with the bell and nothing else: its pages fetch themselves again when they hear of an event."""

    host_ids: Collection[int] = ()
    """The hosts whose samples it shows."""
    _alarm: dict[str, str] | None = None

    def render(self, roles: set[Role], topics: set[str]) -> dict[Role, Screen]:
        """The screen as each role sees it, after events of these topics."""
        alarm = self.alarm(topics)
        return {role: Screen(alarm) for role in roles}

    def alarm(self, topics: set[str]) -> dict[str, str]:
        """The bell's fragments, made anew after an event that may concern them."""
        if self._alarm is None or topics - {Topic.TELEMETRY, Topic.OPERATION, Topic.INVENTORY}:
            self._alarm = alarm_fragments()
        return self._alarm

    def update(self, roles: set[Role], newest: Latest) -> dict[Role, dict[str, str]]:  # noqa: ARG002
        """The fragments that a new sample of one of its hosts changes, as each role sees them, without reading anything.

        Called on the event loop, while another thread may be at any of the other methods.
        """
        return {}

    def prepare(self) -> None:
        """Whatever makes the next rendering quicker; called when everybody has been served."""


class RowsRenderer(Renderer):
    """A screen of hosts. After a mere sample it reads only samples: the other rows were read after the last rendering."""

    def __init__(self) -> None:
        self._shown: dict[int, Latest] = {}
        self._is_read = True
        self.read()

    def render(self, roles: set[Role], topics: set[str]) -> dict[Role, Screen]:
        """Each part once per role."""
        self._is_read = topics != {Topic.TELEMETRY}
        if self._is_read:
            self.read()
        alarm = self.alarm(topics)
        return {role: screen.beside(alarm) for role, screen in self.screens(roles).items()}

    def prepare(self) -> None:
        """Read what no event told of, unless the last rendering has just read everything."""
        if not self._is_read:
            self.read()

    def newest(self, rows: Mapping[int, Latest]) -> dict[int, Latest]:
        """What was read; of a host whose sample was shown before its row was written, that sample."""
        now = timezone.now()
        ahead = {host_id: shown for host_id, shown in self._shown.items() if is_ahead(shown, rows.get(host_id), now)}
        return {**rows, **ahead}

    @abstractmethod
    def read(self) -> None:
        """Everything but the samples."""

    @abstractmethod
    def screens(self, roles: set[Role]) -> dict[Role, Screen]:
        """The live parts as each role sees them, with the newest samples."""
