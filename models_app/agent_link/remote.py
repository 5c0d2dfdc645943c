"""An endpoint that only its host's agent reaches, as a ``Backend``; and a host's fresh sample through its agent."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from models_app.agent.calls import ENDPOINT_CALLS, Named, Nothing, WithOptions
from models_app.agent.host_calls import HOST_CALLS
from models_app.agent_link.models import Agent
from models_app.agent_link.servers import servers_of
from models_app.agent_link.waiting import Asking, Done
from models_app.backends.errors import BackendError
from models_app.backends.http import Limits
from models_app.backends.names import canonical_ollama_name, check_served_name
from models_app.backends.protocol import (
    Backend,
    BackendKind,
    EndpointInfo,
    Generation,
    HeaderAnswer,
    InstalledModel,
    LoadOptions,
    ModelShape,
    Observation,
    Progress,
)
from models_app.inventory.models import Endpoint, Host
from models_app.inventory.routes import AGENT, add_route, agent_endpoint
from models_app.inventory.server_hosts import find_server_hosts_by
from models_app.probes.types import HostSample, Probe
from models_app.telemetry.sources import find_probes_by

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 4.0


class RemoteBackend:
    """One endpoint behind an agent. It holds nothing open: every call is a row of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._host_id, self._host = endpoint.host_id, endpoint.host.name
        self._endpoint = agent_endpoint(endpoint.url) or ""
        self._kind = endpoint.kind
        self._command_seconds = max(settings.CALL_TIMEOUT_SECONDS, Limits().command_seconds)

    def canonical(self, name: str) -> str:
        return canonical_ollama_name(name) if self._kind == BackendKind.OLLAMA else check_served_name(name)

    async def identify(self) -> EndpointInfo:
        answer: EndpointInfo = await self._answer("identify", Nothing(), settings.CALL_TIMEOUT_SECONDS)
        return answer

    async def installed(self) -> list[InstalledModel]:
        answer: list[InstalledModel] = await self._answer("installed", Nothing(), settings.CALL_TIMEOUT_SECONDS)
        return answer

    async def shape(self, name: str) -> ModelShape:
        answer: ModelShape = await self._answer("shape", Named(self.canonical(name)), self._command_seconds)
        return answer

    async def header(self, name: str) -> HeaderAnswer:
        answer: HeaderAnswer = await self._answer("header", Named(self.canonical(name)), self._command_seconds)
        return answer

    async def observe(self) -> Observation:
        answer: Observation = await self._answer("observe", Nothing(), settings.CALL_TIMEOUT_SECONDS)
        return answer

    async def load(self, name: str, options: LoadOptions) -> AsyncGenerator[Progress, None]:
        async with aclosing(
            self._steps("load", WithOptions(self.canonical(name), options), settings.LOAD_TIMEOUT_SECONDS)
        ) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step

    async def unload(self, name: str) -> None:
        await self._answer("unload", Named(self.canonical(name)), self._command_seconds)

    async def set_keep_alive(self, name: str, seconds: int, options: LoadOptions) -> None:
        await self._answer(
            "set_keep_alive", WithOptions(self.canonical(name), options, seconds), settings.LOAD_TIMEOUT_SECONDS
        )

    async def generate(self, name: str, most_tokens: int, options: LoadOptions) -> Generation:
        given = WithOptions(self.canonical(name), options, most_tokens=most_tokens)
        answer: Generation = await self._answer("generate", given, settings.LOAD_TIMEOUT_SECONDS)
        return answer

    async def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        async with aclosing(self._steps("pull", Named(self.canonical(name)), settings.PULL_TIMEOUT_SECONDS)) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step

    async def delete(self, name: str) -> None:
        await self._answer("delete", Named(self.canonical(name)), self._command_seconds)

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _answer(self, call: str, arguments: Any, seconds: float) -> Any:
        async with aclosing(self._steps(call, arguments, seconds)) as steps:
            async for step in steps:
                if isinstance(step, Done):
                    return step.answer
        return None

    def _steps(self, call: str, arguments: Any, seconds: float) -> AsyncGenerator[Progress | Done, None]:
        asking = Asking(self._host_id, self._host, ENDPOINT_CALLS[call], self._endpoint, arguments, seconds)
        return asking.steps()


class RemoteProbe:
    """A host's own view of itself, asked of its agent when it is wanted."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def sample(self) -> HostSample:
        """A fresh sweep; one without GPUs, which says why, where the agent does not answer."""
        asking = Asking(self._host.pk, self._host.name, HOST_CALLS["sample"], "", Nothing(), SAMPLE_SECONDS)
        asked_at = timezone.now()
        try:
            sample: HostSample = asking.answer()
            return replace(sample, taken_at=min(max(sample.taken_at, asked_at), timezone.now()))
        except BackendError as error:
            log.debug("host %s was not sampled: %s", self._host.name, error.message)
            return HostSample("", 0, asked_at, nvml_problem=error.message)
        finally:
            close_old_connections()

    def close(self) -> None:
        """There is nothing to close."""


def install() -> None:
    """Reach endpoints and GPUs of hosts with agents through them, in this process."""
    add_route(AGENT, _route)
    find_probes_by(_probe)
    find_server_hosts_by(servers_of)


def _route(endpoint: Endpoint) -> Backend:
    return RemoteBackend(endpoint)


def _probe(host: Host) -> Probe | None:
    return RemoteProbe(host) if Agent.objects.filter(host=host, revoked_at=None).exists() else None
