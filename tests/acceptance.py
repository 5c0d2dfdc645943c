"""``python -m tests.acceptance``: the main job on real parts, measured from outside.

A real llama-server, a GPU whose memory follows it, a panel with a clean data folder, and Chromium that clicks: it loads a
model of 500 MB, unloads it, loads it again and swaps it for one of 100 MB. Before and after each click it prints the
server's resident memory and the widths in the VRAM bar. The exit status is 0 only if both moved as they should and the
panel measured it, too; with the measurement switched off (``BERTH_TEST_SKIP_VERIFICATION=1``) it is 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser import steps
from tests.fixtures.browser import Visits, running_chromium
from tests.fixtures.real_servers import RealServer
from tests.native.build import build_nvml_stub
from tests.panels import GPU_MIB, add_endpoint, running_machine, running_panel, wait_until
from tests.tools.model_cache import cached_models
from tools.build_llama_server import installed_binary

MIB = 2**20
LARGE, SMALL = "m500", "m100"
LEAST_SHARE = 0.8
"""Of a model's file, how much has to be seen in memory. A llama-server maps the file and touches nearly all of it."""
BAR_SECONDS = 15
HOOKS = ("BERTH_TEST_SKIP_VERIFICATION",)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is seen from outside: memory of the server's processes, and pixels of the two models in the bar."""

    resident_bytes: int
    large_pixels: float
    small_pixels: float

    def __str__(self) -> str:
        return f"{self.resident_bytes / MIB:7.0f} MiB   {self.large_pixels:5.0f} px   {self.small_pixels:5.0f} px"


@dataclass
class Trial:
    """One visit to the panel. ``faults`` collects what did not happen as it should."""

    page: Page
    server: RealServer
    faults: list[str] = field(default_factory=list)

    def read(self) -> Reading:
        """Look at the server's processes and at the page."""
        large, small = (steps.bar_width(self.page, model) for model in (LARGE, SMALL))
        return Reading(self.server.resident_bytes(), large, small)

    def click(self, what: str, act: Callable[[], None], moves_bytes: int, bar: Callable[[Reading], bool]) -> None:
        """Click, then compare: about ``moves_bytes`` have to move, and what ``bar`` says of the widths to come true."""
        before = self.read()
        say(f"{what:<24}before   {before}")
        act()
        operation = steps.finish(self.page)
        self._expect(_comes(lambda: bar(self.read())), f"{what}: the bar did not follow")
        after = self.read()
        proof = operation["verified_by"] or "nothing"
        say(f"{'':<24}after    {after}   {operation['state']}, measured by: {proof}")
        moved = after.resident_bytes - before.resident_bytes
        self._expect(
            _is_about(moved, moves_bytes), f"{what}: {moved / MIB:.0f} MiB moved, about {moves_bytes / MIB:.0f} expected"
        )
        self._expect_measured(what, operation, moves_bytes)

    def _expect_measured(self, what: str, operation: dict[str, Any], moves_bytes: int) -> None:
        """The panel's own figures say the same."""
        self._expect(operation["state"] == "succeeded", f"{what}: the operation {operation['state']}")
        self._expect(operation["verified_by"] in {"process", "gpu"}, f"{what}: the panel has not measured it")
        figures = operation["before_bytes"], operation["after_bytes"]
        self._expect(
            None not in figures and _is_about(figures[1] - figures[0], moves_bytes), f"{what}: its figures are {figures}"
        )

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.faults.append(otherwise)


def main() -> int:
    """Print the readings; 0 if everything moved and was measured."""
    large, small = (cached_models()[name].stat().st_size for name in (LARGE, SMALL))
    with _trial() as trial:
        page = trial.page
        pixels_a_byte = steps.whole_bar_width(page) / (GPU_MIB * MIB)

        def fills(pixels: float, size_bytes: int) -> bool:
            return pixels >= LEAST_SHARE * size_bytes * pixels_a_byte

        say(f"{'':<33}{'llama-server':>11}   {LARGE:>8}   {SMALL:>8}")
        clicks: tuple[tuple[str, Callable[[], None], int, Callable[[Reading], bool]], ...] = (
            (f"Load {LARGE}", lambda: steps.load(page, LARGE), large, lambda now: fills(now.large_pixels, large)),
            (f"Unload {LARGE}", lambda: steps.unload(page, LARGE), -large, lambda now: now.large_pixels == 0),
            (f"Load {LARGE} again", lambda: steps.load(page, LARGE), large, lambda now: fills(now.large_pixels, large)),
            (
                f"Swap {LARGE} for {SMALL}",
                lambda: steps.swap(page, LARGE, SMALL),
                small - large,
                lambda now: now.large_pixels == 0 and fills(now.small_pixels, small),
            ),
        )
        for what, act, moves_bytes, bar in clicks:
            trial.click(what, act, moves_bytes, bar)
        steps.expect_same_document(page)
    for fault in trial.faults:
        say(f"FAILED  {fault}")
    say("Not accepted." if trial.faults else "Accepted: memory and bar moved, and the panel measured it.")
    return 1 if trial.faults else 0


@contextmanager
def _trial() -> Iterator[Trial]:
    binary = installed_binary()
    if binary is None:
        sys.exit("There is no llama-server: run `make llama-server` first.")
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="berth-acceptance-")))
        library = build_nvml_stub(folder / "nvml")
        server, gpu = running.enter_context(running_machine(folder, binary, library))
        hooks = {name: os.environ[name] for name in HOOKS if name in os.environ}
        panel = running.enter_context(running_panel(folder / "panel", **gpu, **hooks))
        add_endpoint(panel, server.url, "router")
        visits = Visits(running.enter_context(running_chromium()), {})
        page = visits.stranger(panel)
        steps.log_in(page)
        steps.open_fleet(page)
        say(f"llama-server at {server.url}, the panel at {panel.url}\n")
        yield Trial(page, server)
        visits.close()


def _comes(holds: Callable[[], bool]) -> bool:
    try:
        wait_until(holds, "the bar shows it", BAR_SECONDS)
    except pytest.fail.Exception:
        return False
    return True


def _is_about(moved_bytes: int, expected_bytes: int) -> bool:
    share = moved_bytes / expected_bytes
    return LEAST_SHARE <= share <= 1 / LEAST_SHARE


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
