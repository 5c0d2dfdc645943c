"""The websocket address of agents."""

from __future__ import annotations

from typing import Any

from django.urls import path

from models_app.agent_link.consumer import AgentConsumer

_agents: Any = AgentConsumer.as_asgi()
websocket_urlpatterns: list[Any] = [path("agent/", _agents)]
