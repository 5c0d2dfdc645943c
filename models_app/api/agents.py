"""``/agents``: the programs on GPU hosts, their one-time tokens and their end. No secret is ever shown again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from models_app.agent_link import enrolment, reports
from models_app.agent_link.models import Agent
from models_app.api.auth import acting
from models_app.api.endpoints import EndpointOut, get_endpoint
from models_app.api.errors import Problem
from models_app.api.paging import Listing, Page
from models_app.inventory.errors import InventoryRefused
from models_app.inventory.models import Host


class AgentOut(BaseModel):
    """An agent. ``clock_skew_seconds`` is how far its clock was ahead of the panel's when it connected.

    ``removed_endpoints`` are those that it may announce and that were removed here.
    """

    id: int
    host: str
    host_id: int
    hostname: str
    program: str
    is_connected: bool
    connected_at: datetime | None
    last_seen_at: datetime | None
    clock_skew_seconds: float | None
    problem: str
    removed_endpoints: list[str]
    enrolled_at: datetime
    revoked_at: datetime | None


class EnrolmentIn(BaseModel):
    """For which host, by its id or its name; ``replace`` allows one that has an agent."""

    model_config = ConfigDict(extra="forbid")

    host: Annotated[int, Field(ge=1, le=2**62)] | Annotated[str, Field(max_length=80, pattern=r"^[^\x00]+$")]
    replace: bool = False


class EnrolmentOut(BaseModel):
    """A one-time token, shown this once."""

    host: str
    host_id: int
    token: str
    expires_at: datetime


class RemovedIn(BaseModel):
    """An endpoint that was removed, by its name in the agent's file."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=80, pattern=r"^[^\x00]+$")]


router = Router(tags=["agents"])
LISTING = Listing[Agent](
    sorts={"id": "id", "host": "host__name", "last_seen_at": "last_seen_at", "enrolled_at": "enrolled_at"},
    default_sort="host",
    filters={"host": "host__name", "host_id": "host_id"},
    searches=("host__name", "hostname"),
)


@router.get("", response=Page[AgentOut], summary="List agents", openapi_extra=LISTING.describe())
def list_agents(request: HttpRequest) -> dict[str, Any]:
    return LISTING.page(request, _agents(), agent_out)


@router.get("/{int:agent_id}", response=AgentOut, summary="One agent")
def get_agent(request: HttpRequest, agent_id: int) -> AgentOut:
    return agent_out(get_object_or_404(_agents(), pk=agent_id))


@router.post("/enrolments", response={201: EnrolmentOut}, summary="Make a one-time token for a host's agent")
def make_enrolment(request: HttpRequest, body: EnrolmentIn) -> Status[EnrolmentOut]:
    by = {"pk": body.host} if isinstance(body.host, int) else {"name": body.host}
    host = Host.objects.filter(**by).first()
    if host is None:
        raise Problem(422, "unknown_host", f"There is no host {body.host!r}.", field="host")
    try:
        made, token = enrolment.make_token(acting(request), host, replace=body.replace)
    except InventoryRefused as refused:
        raise Problem(409, refused.code, f"{refused.message} {refused.hint}".strip(), field="host") from None
    return Status(201, EnrolmentOut(host=host.name, host_id=host.pk, token=str(token), expires_at=made.expires_at))


@router.post("/{int:agent_id}/revoke", response=AgentOut, summary="Let an agent in no longer")
def revoke_agent(request: HttpRequest, agent_id: int) -> AgentOut:
    agent = get_object_or_404(_agents(), pk=agent_id)
    enrolment.revoke(acting(request), agent)
    return agent_out(get_object_or_404(_agents(), pk=agent_id))


@router.post("/{int:agent_id}/endpoints", response={201: EndpointOut}, summary="List a removed endpoint again")
def bring_back_endpoint(request: HttpRequest, agent_id: int, body: RemovedIn) -> Status[dict[str, Any]]:
    """One that was removed stays away however often the agent announces it, until it is asked for here."""
    agent = get_object_or_404(_agents(), pk=agent_id)
    try:
        endpoint = reports.bring_back(acting(request), agent.host, body.name)
    except InventoryRefused as refused:
        raise Problem(404, refused.code, refused.message, field="name") from None
    return Status(201, get_endpoint(request, endpoint.pk))


def _agents() -> QuerySet[Agent]:
    return Agent.objects.select_related("host")


def agent_out(row: Agent) -> AgentOut:
    """The row as the API shows it."""
    return AgentOut(
        id=row.pk,
        host=row.host.name,
        host_id=row.host_id,
        hostname=row.hostname,
        program=row.program,
        is_connected=row.is_connected,
        connected_at=row.connected_at,
        last_seen_at=row.last_seen_at,
        clock_skew_seconds=row.clock_skew_seconds,
        problem=row.problem,
        removed_endpoints=sorted(row.host.dismissed_names),
        enrolled_at=row.enrolled_at,
        revoked_at=row.revoked_at,
    )
