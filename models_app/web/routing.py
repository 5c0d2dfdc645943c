"""The websocket addresses."""

from __future__ import annotations

from typing import Any

from django.urls import path

from models_app.web.consumers import LiveConsumer

_live: Any = LiveConsumer.as_asgi()
websocket_urlpatterns: list[Any] = [path("live/<slug:screen>/", _live)]
