"""Runs one simulated server as a process: ``python -m models_app.simulation ollama|router|single --port 11434``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from models_app.simulation.catalogue import CATALOGUE, models
from models_app.simulation.devices import GIB, SimulatedGpu
from models_app.simulation.fleet import Server
from models_app.simulation.hardware import SimulatedHost
from models_app.simulation.llama_router import LlamaRouterSimulator
from models_app.simulation.llama_single import LlamaServerSimulator
from models_app.simulation.ollama import OllamaSimulator
from models_app.simulation.runner import Timing
from models_app.simulation.server import serve

DEFAULT_MODELS = {
    "ollama": "llama3.1:8b,llama3.2:3b,qwen2.5-coder:14b,nomic-embed-text:latest",
    "router": "llama-3.1-8b-instruct-q8_0,bge-m3-f16,mixtral-truncated-q4_k_m",
    "single": "llama3.1:8b",
}


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models_app.simulation", description=__doc__)
    parser.add_argument("kind", choices=sorted(DEFAULT_MODELS))
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--models", help=f"comma-separated, of: {', '.join(CATALOGUE)}")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--vram-gib", type=int, default=24, help="of each GPU")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as real machines")
    parser.add_argument("--control", action="store_true", help="open /simulation/faults")
    return parser.parse_args(given)


def _build(wanted: argparse.Namespace) -> Server:
    cards = [SimulatedGpu("NVIDIA GeForce RTX 4090", wanted.vram_gib * GIB) for _ in range(wanted.gpus)]
    host = SimulatedHost("simulated", cards)
    installed = models(*(wanted.models or DEFAULT_MODELS[wanted.kind]).split(","))
    timing = Timing.realistic(wanted.speed)
    match wanted.kind:
        case "ollama":
            return OllamaSimulator(host, installed, timing=timing, control=wanted.control)
        case "router":
            return LlamaRouterSimulator(host, installed, timing=timing, control=wanted.control)
        case _:
            return LlamaServerSimulator(host, installed[0], timing=timing, control=wanted.control)


async def _run(wanted: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(_build(wanted), wanted.port) as serving:
        sys.stdout.write(f"listening on {serving.url}\n")
        sys.stdout.flush()
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_run(_arguments(None)))
