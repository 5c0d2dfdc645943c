"""A loaded model of a simulated Ollama, the options that it was loaded with, and the server's settings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.golang import FOREVER_SECONDS
from models_app.simulation.memory import Placement


@dataclass(frozen=True, slots=True)
class OllamaSettings:
    """The environment of ``ollama serve``. ``context_length`` 0 chooses by VRAM; ``max_loaded_models`` 0 is 3 a GPU."""

    max_loaded_models: int = 0
    max_queue: int = 512
    keep_alive_seconds: float = 300
    context_length: int = 0
    parallel: int = 1


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """The options that reload a model when they differ. ``None`` is the server's own choice."""

    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None


@dataclass(slots=True, eq=False)
class Runner:
    """A loaded model. ``keep_alive_seconds`` below 0 means for ever; ``users`` counts requests that it works on."""

    model: SimulatedModel
    options: RunnerOptions
    pid: int
    placement: Placement
    context: int
    keep_alive_seconds: float
    expires_at: float = 0.0
    users: int = 0
    leaving: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None

    @property
    def lasting_seconds(self) -> float:
        """How long it stays after its last use."""
        return FOREVER_SECONDS if self.keep_alive_seconds < 0 else self.keep_alive_seconds

    def cancel_timer(self) -> None:
        """Do not expire, for now."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
