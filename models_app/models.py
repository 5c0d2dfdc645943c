"""Every model, for Django's registry; nobody imports from here."""

from models_app.accounts.models import ApiToken, AuditEntry
from models_app.agent_link.models import Agent, AgentCommand, Enrolment
from models_app.alerts.delivery.models import Delivery, Receiver
from models_app.alerts.models import Alert, Mute, Remembered, RuleLimits
from models_app.catalog.models import CatalogModel, Installation, Variant, VariantHeader
from models_app.catalog.tiers import HardwareTier
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel, ManagedServer, Residency
from models_app.live import Revision
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.heartbeats import Heartbeat
from models_app.operations.measurements import LoadMeasurement, SpeedMeasurement
from models_app.operations.models import (
    Operation,
    OperationLog,
    OperationStep,
    OperationTarget,
)
from models_app.operations.reservations import Reservation
from models_app.plans.corrections import Correction, EnforcementStop
from models_app.plans.models import Demand, Plan
from models_app.plans.schedules import Schedule
from models_app.plans.wakes import Wake
from models_app.telemetry.models import LatestSample, SecondsChunk, StepsChunk

__all__ = [
    "Agent",
    "AgentCommand",
    "Alert",
    "ApiToken",
    "ApplyStep",
    "AuditEntry",
    "CatalogModel",
    "Correction",
    "Delivery",
    "Demand",
    "Endpoint",
    "EnforcementStop",
    "Enrolment",
    "Gpu",
    "HardwareTier",
    "Heartbeat",
    "Host",
    "Installation",
    "LatestSample",
    "LoadMeasurement",
    "LoadedModel",
    "ManagedServer",
    "Mute",
    "Operation",
    "OperationLog",
    "OperationStep",
    "OperationTarget",
    "Plan",
    "Receiver",
    "Remembered",
    "Reservation",
    "Residency",
    "Revision",
    "RuleLimits",
    "Schedule",
    "SecondsChunk",
    "SpeedMeasurement",
    "StepsChunk",
    "Variant",
    "VariantHeader",
    "Wake",
]
