"""What sockets are fed: a screen is a set of page fragments by their element's id, the same for everybody in a role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.template.loader import get_template

from models_app.accounts.roles import Role
from models_app.operations.fleet import fleet
from models_app.operations.fleet_view import FleetView
from models_app.web.stories import Story, recent_stories


@dataclass(frozen=True, slots=True)
class Screen:
    """Fragments by id, and the ids that each list on the page holds, in order."""

    fragments: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def since(self, before: Screen) -> Screen:
        """Only what differs from ``before``."""
        fragments = {name: html for name, html in self.fragments.items() if before.fragments.get(name) != html}
        lists = {name: ids for name, ids in self.lists.items() if before.lists.get(name) != ids}
        return Screen(fragments, lists)


def fleet_screen(view: FleetView, stories: list[Story], role: Role) -> Screen:
    """The live parts of the Fleet page."""

    def rendered(template: str, **context: object) -> str:
        return get_template(template).render(context | {"is_admin": role is Role.ADMIN})

    head = {"fleet-head": rendered("fleet/head.html", fleet=view)}
    hosts = {f"host-{host.id}": rendered("fleet/host.html", host=host) for host in view.hosts}
    operations = {f"operation-{story.id}": rendered("components/operation.html", story=story) for story in stories}
    hosts = hosts or {"no-hosts": rendered("fleet/empty.html")}
    operations = operations or {"no-operations": rendered("fleet/no_operations.html")}
    return Screen(head | hosts | operations, {"fleet-hosts": list(hosts), "fleet-operations": list(operations)})


def _fleet_for(roles: set[Role]) -> dict[Role, Screen]:
    view, stories = fleet(), recent_stories()
    return {role: fleet_screen(view, stories, role) for role in roles}


def _nothing_for(roles: set[Role]) -> dict[Role, Screen]:
    return {role: Screen() for role in roles}


Renderer = Callable[[set[Role]], dict[Role, Screen]]
SCREENS: dict[str, Renderer] = {"fleet": _fleet_for, "events": _nothing_for}
"""By name, as in the socket's address. ``events`` has no fragments: its pages fetch themselves again when told."""
