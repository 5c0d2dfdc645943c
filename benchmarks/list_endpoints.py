"""P6: every list of the REST API with 10,000 models and 1,000 GPUs, against a limit of 25 ms at the 95th percentile.

    .venv/bin/python benchmarks/list_endpoints.py [REQUESTS]

One request at a time over loopback to one web process on SQLite, as a script sends them: a token, a page of 50 (the
default), and the same with a sort, a filter, a search, the last page and the largest page. The pages are interleaved. The
number of queries is counted in the web process; it must be the same for a page of one row and for one of 200. Beside the
limit stands the bare answer of the same process, ``/healthz``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median, quantiles

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import _harness as harness
from tests.services import free_port

LIMIT_SECONDS = 0.025
PAGES = {
    "models": ("", "?sort=-file_size_bytes", "?quantization=Q4_K_M", "?q=llama12", "?page=200", "?endpoint=endpoint-7"),
    "gpus": ("", "?sort=-total_bytes", "?host=host-7", "?q=4090", "?page=20"),
    "hosts": ("", "?sort=-name", "?q=host-1"),
    "endpoints": ("", "?sort=-name", "?host=host-7"),
    "loaded-models": ("", "?sort=-vram_bytes", "?state=loaded", "?page=10"),
    "telemetry/latest": ("", "?host=host-7"),
    "operations": ("", "?sort=finished_at", "?state=succeeded", "?q=llama3", "?page=40"),
}
LARGEST = "?per_page=200"


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "BERTH_DATA_DIR": folder, "BERTH_DISCOVERY": "0", "DJANGO_SETTINGS_MODULE": "controlpanel.settings",
        }  # fmt: skip
        prepare = [sys.executable, "-m", "benchmarks._large_fleet"]
        lines = subprocess.check_output(prepare, cwd=harness.ROOT, env=environment, text=True).splitlines()
        token, counts = lines[0], lines[1:]
        port, log = free_port(), Path(folder) / "log"
        command = [sys.executable, "-m", "uvicorn", "controlpanel.asgi:application", "--port", str(port), "--no-access-log"]
        with harness.running(command, log, environment):
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
                harness.until(lambda: client.get("/healthz").is_success, log)
                taken = measure(client, rounds)
    return 0 if report(taken) & same_number_of_queries(counts) else 1


def measure(client: httpx.Client, rounds: int) -> dict[tuple[str, str], list[float]]:
    pages = [(name, query) for name, queries in PAGES.items() for query in (*queries, LARGEST)]
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + 2):
        for name, query in [("", ""), *pages]:
            path = f"/api/v1/{name}{query}" if name else "/healthz"
            began = time.perf_counter()
            answer = client.get(path)
            seconds = time.perf_counter() - began
            assert answer.is_success, (path, answer.text)
            if number >= 2:
                taken[name, query].append(seconds)
    return taken


def report(taken: dict[tuple[str, str], list[float]]) -> bool:
    bare = median(taken.pop(("", "")))
    print(
        f"P6 lists: 10,000 models, 1,000 GPUs; limit p95 {LIMIT_SECONDS * 1000:.0f} ms; bare /healthz {bare * 1000:.1f} ms"
    )
    holds = True
    for (name, query), seconds in taken.items():
        p95 = quantiles(seconds, n=20)[-1]
        within = p95 <= LIMIT_SECONDS or query == LARGEST
        holds &= within
        note = "" if within else "   MISSED"
        note = "   (200 rows: no limit was set)" if query == LARGEST else note
        figures = f"p95 {p95 * 1000:5.1f} ms, ratio {p95 / LIMIT_SECONDS:.2f}, median {median(seconds) * 1000:5.1f} ms"
        print(f"    {name + query:32} {figures}, {len(seconds)} requests{note}")
    print(f"    load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return holds


def same_number_of_queries(counts: list[str]) -> bool:
    same = True
    for line in counts:
        name, one, many = line.split()
        print(f"    {name}: {one} queries for one row, {many} for 200")
        same &= one == many
    return same


if __name__ == "__main__":
    sys.exit(main())
