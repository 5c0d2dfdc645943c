"""P9: from a clean clone to the first live page, with every download, and a second start of the same.

    .venv/bin/python benchmarks/start_up.py [WARM STARTS]

``make up`` in a fresh clone of this repository's HEAD, with pip's cache off, until a page has been served to a browser that
has signed in and its live socket has sent the first screen. The limit is 60 s, downloads included: what the network of this
machine gives is part of it. A warm start is the same in the same clone: at most 3 s.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
from websockets.sync.client import connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import subprocess

from benchmarks import _harness as harness
from tests.ports import free_port
from tests.runtime.several_processes import Web

COLD_LIMIT_SECONDS, WARM_LIMIT_SECONDS = 60.0, 3.0


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "berth"
        subprocess.run(["git", "clone", "--quiet", str(harness.ROOT), str(clone)], check=True)
        cold = start(clone)
        warm = [start(clone) for _ in range(count)]
    print(f"P9 clean clone to first live page: {cold:.1f} s, ratio to the limit of 60 s {cold / COLD_LIMIT_SECONDS:.2f}")
    print(f"    warm start: ratio to the limit of 3 s {median(warm) / WARM_LIMIT_SECONDS:.2f}, {harness.spread(warm)}")
    print(f"    {len(warm)} warm starts; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0 if cold <= COLD_LIMIT_SECONDS and median(warm) <= WARM_LIMIT_SECONDS else 1


def start(clone: Path) -> float:
    """Seconds from ``make up`` to the first live screen; then the panel is stopped as Ctrl-C does."""
    port, log = free_port(), clone.parent / "log"
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")} | {
        "BERTH_PORT": str(port),
        "BERTH_ADMIN_USER": "ada",
        "BERTH_ADMIN_PASSWORD": harness.PASSWORD,
        "PIP_NO_CACHE_DIR": "1",
        "PYTHON": sys.executable,
    }
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up"], cwd=clone, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        harness.until(lambda: "is ready at" in log.read_text() or process.poll() is not None, log, 300)
        assert process.poll() is None, log.read_text()
        first_screen(f"http://127.0.0.1:{port}")
        return time.perf_counter() - began
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(20)


def first_screen(url: str) -> None:
    """Sign in, open the Fleet page and wait for what its socket sends."""
    web = Web(url, harness.PASSWORD, httpx.Client())
    with web.browser() as browser:
        page = browser.get("/")
        assert re.search(r'id="fleet-hosts"', page.text), page.text
        cookie = f"sessionid={browser.cookies['sessionid']}"
    address = f"{url.replace('http', 'ws')}/live/fleet/"
    with connect(address, additional_headers={"Cookie": cookie}, origin=url) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv(timeout=20))["fragments"]


if __name__ == "__main__":
    sys.exit(main())
