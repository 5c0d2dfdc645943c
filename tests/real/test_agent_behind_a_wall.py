"""An agent in a network of its own, which the panel cannot reach: what only it can see and do, the panel sees and does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.networks import Network
from tests.fixtures.panels import StartPanel
from tests.panels import Panel, wait_until

pytestmark = pytest.mark.real

MODEL = "llama3.2:3b"


@pytest.fixture
def certificate(tmp_path: Path, network: Network) -> tuple[Path, Path]:
    """A certificate for our end of the cable, and its key."""
    chain, key = tmp_path / "panel.pem", tmp_path / "panel.key"
    named = ["-subj", "/CN=panel", "-addext", f"subjectAltName=IP:{network.ours}"]
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", *made, *named, "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


@contextmanager
def tls_before(panel: Panel, address: str, certificate: tuple[Path, Path]) -> Iterator[int]:
    """A proxy that ends TLS in front of the panel; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    loop = asyncio.new_event_loop()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection("127.0.0.1", panel.port)
        await asyncio.gather(pump(reader, outward), pump(inward, writer))

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, address, 0, ssl=context), loop).result(10)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def operation(browser: httpx.Client, **asked: Any) -> dict[str, Any]:
    """The operation, once it has ended."""
    answer = browser.post("/api/v1/operations", json=asked)
    assert answer.status_code == 202, answer.text
    address = answer.headers["Location"]
    wait_until(lambda: browser.get(address).json()["state"] not in {"queued", "running"}, "the operation ends")
    ended: dict[str, Any] = browser.get(address).json()
    return ended


def test_a_host_that_the_panel_cannot_reach_is_seen_and_steered_through_its_agent(
    network: Network, certificate: tuple[Path, Path], new_panel: StartPanel, tmp_path: Path
) -> None:
    panel = new_panel()
    panel.start()
    ollama = network.start(
        tmp_path / "ollama.log", sys.executable, "-m", "models_app.simulation", "ollama", stdout=subprocess.PIPE
    )
    assert ollama.stdout
    url = ollama.stdout.readline().removeprefix("listening on ").strip()
    with pytest.raises(OSError), socket.create_connection((network.theirs, int(url.rpartition(":")[2])), timeout=2):
        pass
    with tls_before(panel, network.ours, certificate) as port, panel.signed_in() as browser:
        page = browser.post("/hosts/agents/add/", data={"name": "gpu-1", "tags": ""})
        token = page.text.split('id="secret" readonly value="')[1].split('"')[0]
        file = tmp_path / "agent.toml"
        file.write_text(
            f'panel = "wss://{network.ours}:{port}/agent/"\nca_file = "{certificate[0]}"\n'
            f'secret_file = "{tmp_path}/secret.json"\n[endpoints.ollama]\nkind = "ollama"\nurl = "{url}"\n'
        )
        run = (sys.executable, "-m", "models_app.agent")
        enrolling = network.start(tmp_path / "enrol.log", *run, "enrol", "--config", str(file), stdin=subprocess.PIPE)
        enrolling.communicate(f"{token}\n", timeout=60)
        assert enrolling.returncode == 0, (tmp_path / "enrol.log").read_text()
        agent = network.start(tmp_path / "agent.log", *run, "run", "--config", str(file))
        try:
            models = {"endpoint": "ollama on gpu-1", "per_page": "1"}
            wait_until(lambda: browser.get("/api/v1/models", params=models).json().get("items"), "its models are listed")
            assert browser.get("/api/v1/agents").json()["items"][0]["is_connected"]
            assert browser.get("/api/v1/hosts", params={"name": "gpu-1"}).json()["items"][0]["last_sample_at"]
            asked = {"endpoint": "ollama on gpu-1", "model": MODEL}
            loaded = operation(browser, kind="load", load_anyway=True, **asked)
            assert loaded["state"] == "succeeded", loaded
            assert MODEL in loaded_names(browser)
            unloaded = operation(browser, kind="unload", confirmed=True, **asked)
            assert unloaded["state"] == "succeeded", unloaded
        finally:
            agent.terminate()
            assert agent.wait(20) == 0, (tmp_path / "agent.log").read_text()
            ollama.kill()


def loaded_names(browser: httpx.Client) -> list[str]:
    """The models that the panel shows in memory."""
    return [row["name"] for row in browser.get("/api/v1/loaded-models").json()["items"]]
