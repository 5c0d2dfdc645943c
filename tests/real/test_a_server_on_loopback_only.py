"""An Ollama elsewhere that listens on its loopback only, as it does by default: *Test connection* says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.fixtures.networks import Network

pytestmark = pytest.mark.real

PORT = 11434


@pytest.fixture
def ollama(network: Network, tmp_path: Path) -> str:
    """Its address as seen from here."""
    command = (sys.executable, "-m", "models_app.simulation", "ollama", "--port", str(PORT))
    process = network.start(tmp_path / "log", *command, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == f"listening on http://127.0.0.1:{PORT}\n"
    return f"http://{network.theirs}:{PORT}"


def test_a_refused_connection_over_a_network_says_to_set_ollama_host(ollama: str, as_admin: Client, db: None) -> None:
    asked = {"name": "gpu-1", "tags": "", "url": ollama, "kind": "ollama", "api_key": "", "test": "1"}
    shown = as_admin.post("/hosts/add/", asked).content.decode()
    report = shown.split('id="connection"')[1].split('class="row answers"')[0]

    assert f"Nothing listens on {ollama.removeprefix('http://')}." in report
    assert "Ollama listens on loopback only by default: set OLLAMA_HOST=0.0.0.0" in report
