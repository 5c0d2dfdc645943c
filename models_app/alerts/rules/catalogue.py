"""Every rule."""

from __future__ import annotations

from models_app.alerts.rules.cpu_fallback import CPU_FALLBACK
from models_app.alerts.rules.endpoints import ENDPOINT_LOST, ENDPOINT_OPEN, ENDPOINT_OUTDATED
from models_app.alerts.rules.enforcing import ENFORCEMENT_STOPPED
from models_app.alerts.rules.findings import Rule
from models_app.alerts.rules.gpus import GPU_LOST, TEMPERATURE, VRAM_FULL
from models_app.alerts.rules.growth import GROWTH
from models_app.alerts.rules.hostage import HOSTAGE
from models_app.alerts.rules.hosts import HOST_LOST, MEMORY_PRESSURE, RAM_FULL, SWAPPING
from models_app.alerts.rules.phantom import NOT_IN_MEMORY
from models_app.alerts.rules.release import LEAK, NOT_RELEASED
from models_app.alerts.rules.slower import SLOWER
from models_app.alerts.rules.stuck import DEADLOCK, STOPPING
from models_app.alerts.rules.thrash import THRASH

RULES: tuple[Rule, ...] = (
    HOST_LOST,
    ENDPOINT_LOST,
    GPU_LOST,
    DEADLOCK,
    VRAM_FULL,
    TEMPERATURE,
    RAM_FULL,
    SWAPPING,
    MEMORY_PRESSURE,
    CPU_FALLBACK,
    SLOWER,
    THRASH,
    NOT_RELEASED,
    LEAK,
    GROWTH,
    HOSTAGE,
    STOPPING,
    NOT_IN_MEMORY,
    ENFORCEMENT_STOPPED,
    ENDPOINT_OUTDATED,
    ENDPOINT_OPEN,
)
RULE_BY_NAME = {rule.name: rule for rule in RULES}
