"""The screens that a socket may ask for, by their names in its address."""

from __future__ import annotations

import re

from models_app.web.fleet_page import query_of
from models_app.web.fleet_screen import FleetRenderer
from models_app.web.host_screen import HostRenderer
from models_app.web.screens import Renderer

HOST = re.compile(r"host-([1-9][0-9]{0,17})")
EVENTS = "events"
"""The screen of every page that fetches itself again."""


def renderer_of(screen: str) -> Renderer:
    """What renders the screen of that name: ``fleet`` and its pages, ``host-7``; for any other name ``events``."""
    if host := HOST.fullmatch(screen):
        return HostRenderer(int(host[1]))
    query = query_of(screen)
    return Renderer() if query is None else FleetRenderer(query)
