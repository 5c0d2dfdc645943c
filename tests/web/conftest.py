"""Simulated servers that a page's view can call: each on a thread of its own, as if on another machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from models_app.simulation.asgi import Application
from models_app.simulation.catalogue import models
from models_app.simulation.hardware import GIB, SimulatedGpu, SimulatedHost
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.server import serve

Served = Callable[[Application], str]


@contextmanager
def _on_a_thread(application: Application) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = serve(application)
    address = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(10).url
    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    """Serves an application and returns its address; it ends with the test."""
    with ExitStack() as stack:
        yield lambda application: stack.enter_context(_on_a_thread(application))


@pytest.fixture
def nobody_there() -> Iterator[str]:
    """An address where connections are refused: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def machine() -> SimulatedHost:
    """A machine with one GPU."""
    return SimulatedHost("gpu-1", [SimulatedGpu("NVIDIA GeForce RTX 4090", 24 * GIB)])


@pytest.fixture
def ollama(machine: SimulatedHost) -> OllamaSimulator:
    """An Ollama with two models; not served yet."""
    return OllamaSimulator(machine, models("llama3.2:3b", "nomic-embed-text:latest"))


@pytest.fixture
def router(machine: SimulatedHost) -> LlamaRouterSimulator:
    """A llama-server in router mode that wants a key; not served yet."""
    return LlamaRouterSimulator(machine, models("llama-3.1-8b-instruct-q8_0"), api_key="the right key")
