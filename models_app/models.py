"""Every model, for Django's registry; nobody imports from here."""

from models_app.accounts.models import ApiToken, AuditEntry
from models_app.catalog.models import CatalogModel, Installation, Variant, VariantHeader
from models_app.catalog.tiers import HardwareTier
from models_app.inventory.models import Endpoint, Gpu, Host, LoadedModel, Residency
from models_app.live import Revision
from models_app.operations.apply_steps import ApplyStep
from models_app.operations.heartbeats import Heartbeat
from models_app.operations.measurements import LoadMeasurement, SpeedMeasurement
from models_app.operations.models import (
    Operation,
    OperationLog,
    OperationStep,
    OperationTarget,
    Reservation,
)
from models_app.plans.models import Demand, Plan
from models_app.telemetry.models import LatestSample, SecondsChunk, StepsChunk

__all__ = [
    "ApiToken",
    "ApplyStep",
    "AuditEntry",
    "CatalogModel",
    "Demand",
    "Endpoint",
    "Gpu",
    "HardwareTier",
    "Heartbeat",
    "Host",
    "Installation",
    "LatestSample",
    "LoadMeasurement",
    "LoadedModel",
    "Operation",
    "OperationLog",
    "OperationStep",
    "OperationTarget",
    "Plan",
    "Reservation",
    "Residency",
    "Revision",
    "SecondsChunk",
    "SpeedMeasurement",
    "StepsChunk",
    "Variant",
    "VariantHeader",
]
