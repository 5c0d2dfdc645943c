"""The ASGI application: HTTP through Django, websockets through Channels: browsers' and agents'."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")

import django

django.setup(set_prefix=False)

# What follows imports models, so the application registry has to be ready.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import re_path  # noqa: E402

from controlpanel import urls  # noqa: E402, F401 - now rather than at the first request
from controlpanel.handler import Handler  # noqa: E402
from models_app.agent_link import routing as agent_routing  # noqa: E402
from models_app.web.routing import websocket_urlpatterns  # noqa: E402

browsers: Any = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
application = ProtocolTypeRouter(
    {
        "http": Handler(),
        "websocket": URLRouter([*agent_routing.websocket_urlpatterns, re_path("", browsers)]),
    }
)

# A thread that computes lets the event loop in after a fifth of a millisecond rather than five: with hundreds of hosts the
# loop asks for Python's lock a thousand times a second, each time behind all threads that compute.
sys.setswitchinterval(0.0002)

# What is imported by now stays for good: no collection of garbage has to walk through it, which takes a tenth of a second.
# Nor are there many: with hundreds of hosts a whole one stops everything for half a second; most garbage goes without.
gc.freeze()
gc.set_threshold(50_000, 5, 20)
