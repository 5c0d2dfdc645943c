"""P1: a verified load through the panel, against the bare call to the same server.

    .venv/bin/python benchmarks/verified_load.py [PAIRS]

The peer is a real llama-server in router mode with a 500 MB model, asked to load it and then asked every 5 ms whether it
has; with ``OLLAMA_URL`` also that Ollama, whose answer is the end of the load (``OLLAMA_MODEL`` names one of about
500 MB). The panel's time runs from before the request is sent to the end of the operation, so it holds the request, the
queue, admission, the load and its verification by the memory of the model's process. A stand-in driver shows the real
server's resident memory as a GPU's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import _harness as harness

MODEL = "m500"
LIMIT, LIMIT_OVER_SECONDS = 1.05, 0.05


def against_router(count: int) -> bool:
    with harness.router() as client, harness.panel() as web:
        harness.enter_endpoint(web, str(client.base_url), "llama_server", MODEL)

        def through_panel() -> float:
            seconds = harness.operate(web, kind="load", model=MODEL)
            harness.operate(web, kind="unload", model=MODEL)
            return seconds

        def bare() -> float:
            seconds = harness.timed(lambda: harness.load(client, MODEL))
            harness.unload(client, MODEL)
            harness.until(lambda: web.get("loaded-models")["items"] == [])
            return seconds

        pairs = harness.interleave(through_panel, bare, count)
    return harness.report("P1 llama-server router", pairs, "bare ", LIMIT, LIMIT_OVER_SECONDS)


def against_ollama(url: str, count: int) -> bool:
    model = os.environ.get("OLLAMA_MODEL", f"{MODEL}:latest")
    with httpx.Client(base_url=url, timeout=120) as client, harness.panel() as web:
        harness.enter_endpoint(web, url, "ollama", model)

        def order(keep_alive: str | int) -> None:
            body = {"model": model, "stream": False, "keep_alive": keep_alive}
            client.post("/api/generate", json=body).raise_for_status()

        def empty() -> None:
            order(0)
            harness.until(lambda: all(row["name"] != model for row in client.get("/api/ps").json()["models"]))
            harness.until(lambda: all(row["name"] != model for row in web.get("loaded-models")["items"]))

        def through_panel() -> float:
            seconds = harness.operate(web, kind="load", model=model)
            empty()
            return seconds

        def bare() -> float:
            seconds = harness.timed(lambda: order("5m"))
            empty()
            return seconds

        empty()
        pairs = harness.interleave(through_panel, bare, count)
    return harness.report("P1 Ollama", pairs, "bare ", LIMIT, LIMIT_OVER_SECONDS)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    holds = against_router(count)
    if url := os.environ.get("OLLAMA_URL"):
        holds &= against_ollama(url, count)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
