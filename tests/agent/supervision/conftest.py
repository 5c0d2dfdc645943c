"""A machine whose owner allows a fake llama-server, and what is started there, which is gone after the test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from models_app.agent.supervision.backend import ManagedBackend
from models_app.agent.supervision.crashes import Pace
from models_app.agent.supervision.records import folders
from models_app.agent.supervision.spec import ServerSpec
from models_app.agent.supervision.supervisor import Supervisor
from models_app.backends.protocol import LoadOptions

FAKE_SERVER = Path(__file__).parents[2] / "fixtures" / "fake_llama_server.py"

KEY = "s1"
QUICK = Pace(grace_seconds=0.3, first_pause_seconds=0.0, most_crashes=2)
PORTS = (20_000, 29_999)


@dataclass(frozen=True, slots=True)
class Machine:
    """Folders of a machine: the owner's allow-list, the models, and the state of Berth."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def allow_file(self) -> Path:
        return self.root / "allowed.toml"

    def allow(self, fault: str = "", **settings: object) -> None:
        """Write the allow-list: the fake server, with this fault, and further settings."""
        chosen = {"model_folders": [str(self.models)], "ports": list(PORTS), "start_seconds": 20} | settings
        lines = [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
        tables = ["[llama_server]", f'fake = "{self.root / "llama-server"}"', "[environment]", f'FAKE = "{fault}"']
        self.allow_file.write_text("\n".join([*lines, *tables]))

    def supervisor(self, pace: Pace = QUICK) -> Supervisor:
        """Another one, as another process of Berth would have."""
        return Supervisor(self.allow_file, self.state, pace)

    def spec(self, **settings: object) -> ServerSpec:
        return ServerSpec(**{"name": "tiny", "model": str(self.models / "tiny.gguf")} | settings)  # type: ignore[arg-type]

    def backend(self, spec: ServerSpec | None = None, pace: Pace = QUICK) -> ManagedBackend:
        return ManagedBackend(self.supervisor(pace), KEY, spec or self.spec())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With one model, ``tiny``; whatever runs at the end is ended."""
    machine = Machine(tmp_path)
    machine.models.mkdir()
    (machine.models / "tiny.gguf").write_bytes(b"GGUF" + bytes(996))
    program = tmp_path / "llama-server"
    program.write_text(f"#!{sys.executable}\n" + FAKE_SERVER.read_text(encoding="utf-8"))
    program.chmod(0o755)
    machine.allow()
    yield machine
    for folder in folders(machine.state):
        machine.supervisor().server(folder.key).stop()


async def load(backend: ManagedBackend) -> list[str]:
    """Load the model; what the server logged meanwhile."""
    lines: list[str] = []
    async with aclosing(backend.load("tiny", LoadOptions())) as steps:
        async for progress in steps:
            lines += progress.lines
    return lines
