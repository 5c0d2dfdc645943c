"""P2: a swap through the panel, against a bare unload followed by a bare load on the same real server.

    .venv/bin/python benchmarks/swap.py [PAIRS]

A real llama-server in router mode holds a 100 MB model, which makes room for a 500 MB one. The peer orders the unload, asks
every 5 ms until the process has ended, orders the load and asks until it is done. The panel's swap also measures that the
memory came back before it loads.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import _harness as harness

OLD, NEW = "m100", "m500"
LIMIT, LIMIT_OVER_SECONDS = 1.05, 0.1


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    with harness.router() as client, harness.panel() as web:
        harness.enter_endpoint(web, str(client.base_url), "llama_server", OLD, NEW)

        def prepare() -> int:
            """Only the old model is loaded, and the panel has seen it. Its id."""
            if harness.status(client, NEW) == "loaded":
                harness.unload(client, NEW)
            harness.load(client, OLD)
            seen = harness.until(lambda: [row for row in web.get("loaded-models")["items"] if row["state"] == "loaded"])
            harness.until(lambda: [row["name"] for row in web.get("loaded-models")["items"]] == [OLD])
            return int(next(row["id"] for row in web.get("loaded-models")["items"]) or seen[0]["id"])

        def through_panel() -> float:
            return harness.operate(web, kind="swap", model=NEW, unload=[prepare()])

        def bare() -> float:
            prepare()
            return harness.timed(lambda: (harness.unload(client, OLD), harness.load(client, NEW)))

        pairs = harness.interleave(through_panel, bare, count)
    return 0 if harness.report("P2 swap on a llama-server router", pairs, "bare ", LIMIT, LIMIT_OVER_SECONDS) else 1


if __name__ == "__main__":
    sys.exit(main())
