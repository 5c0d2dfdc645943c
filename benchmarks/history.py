"""The past of a GPU, from an hour to a year, against the limit of 200 ms.

A year of one GPU is made up: 1 h steps for all of it, 1 min steps for a month, 10 s steps for two days and the seconds of
the last two hours, with six models that come and go; the current hour is not rolled up. What is timed is the answer of the
REST API as a browser gets it, without the network; beside it stands the processor's time, which other work on the machine
does not lengthen.

    python -m benchmarks.history [rounds]
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import time
from datetime import datetime, timedelta

LIMIT_SECONDS = 0.2
HEADS = ("step", "series", "answer", "CPU", "median", "p95", "of 200 ms")
RANGES = {
    "1 h": timedelta(hours=1),
    "6 h": timedelta(hours=6),
    "24 h": timedelta(hours=24),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
    "1 y": timedelta(days=365),
}
MODELS = ("llama3.1:8b", "qwen3:14b", "gemma3:12b", "nomic-embed-text", "mistral-small:24b", "phi4:14b")


def p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def main(rounds: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "BERTH_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "controlpanel.settings",
            "BERTH_LOG_LEVEL": "ERROR",
        }
        import django  # noqa: PLC0415 - the settings read the environment

        django.setup()
        from benchmarks._history_year import make_year  # noqa: PLC0415

        began = time.perf_counter()
        browser, gpu, rows, size_bytes = make_year(MODELS, random.Random(1))
        made_seconds = time.perf_counter() - began
        print(f"one GPU, one year: {rows:,} rows, {size_bytes / 1e6:.1f} MB packed (made in {made_seconds:.0f} s)\n")
        print("range".rjust(6), "points".rjust(7), *(word.rjust(9) for word in HEADS))
        within = [measure(browser, gpu, name, span, rounds) for name, span in RANGES.items()]
        return all(within)


def measure(browser: object, gpu: str, name: str, span: timedelta, rounds: int) -> bool:
    now = datetime.now().astimezone()
    query = {"gpu": gpu, "since": (now - span).isoformat(), "until": now.isoformat()}
    times, body, began_cpu = [], b"", time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        body = browser.get("/api/v1/telemetry/history", query).content  # type: ignore[attr-defined]
        times.append(time.perf_counter() - began)
    cpu = (time.process_time() - began_cpu) / rounds
    found = json.loads(body)
    slow = p95(times)
    size, step = f"{len(body) / 1e3:.0f} kB", f"{found['step_seconds']} s"
    print(
        f"{name:>6} {len(found['times']):>7} {step:>9} {len(found['series']):>9} {size:>9} {cpu * 1e3:>6.0f} ms"
        f" {sorted(times)[rounds // 2] * 1e3:>6.0f} ms {slow * 1e3:>6.0f} ms {slow / LIMIT_SECONDS:>9.2f}"
    )
    return slow <= LIMIT_SECONDS


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
