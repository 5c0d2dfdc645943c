"""``manage.py simulate``: GPU hosts that are not there report to a panel, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import signal
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_app.agent.config import BadConfig, panel_url
from models_app.agent.proofs import BadToken, Token
from models_app.simulation.agents.fleet import AgentFleet, Plan, summary, write_report


class Command(BaseCommand):
    help = (
        "Report to a panel as many GPU hosts that are not there. It says what it sent at its end and on SIGUSR1. "
        "The token is that of `manage.py agenttoken --simulated HOSTS` on the panel."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hosts", type=int, default=10)
        parser.add_argument("--gpus", type=int, default=8, help="of each host")
        parser.add_argument("--url", required=True, type=_url, help="the panel's address")
        parser.add_argument("--token", required=True, type=_token, help="for simulated hosts")
        parser.add_argument("--seed", type=int, default=0, help="the same machines, loads and faults for the same number")
        parser.add_argument("--seconds", type=float, default=0, help="how long; until stopped when left out")
        parser.add_argument("--faults", type=float, default=6, help="of each host, an hour")
        parser.add_argument("--report", type=Path, metavar="FILE", help="write what each host sent, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        plan = Plan(
            options["url"],
            options["token"],
            options["hosts"],
            options["gpus"],
            options["seed"],
            options["seconds"],
            options["faults"],
        )
        logging.getLogger("models_app.agent").setLevel(logging.ERROR)
        asyncio.run(self._run(AgentFleet(plan), options["report"]))

    async def _run(self, fleet: AgentFleet, report: Path | None) -> None:
        loop = asyncio.get_running_loop()
        work = asyncio.create_task(fleet.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, work.cancel)
        loop.add_signal_handler(signal.SIGUSR1, partial(self._say, fleet, report))
        await asyncio.gather(work, return_exceptions=True)
        self._say(fleet, report)
        if not work.cancelled() and (error := work.exception()):
            raise error

    def _say(self, fleet: AgentFleet, report: Path | None) -> None:
        sent = fleet.report()
        self.stdout.write(summary(sent))
        self.stdout.flush()
        if report is not None:
            write_report(report, sent)


def _token(text: str) -> Token:
    try:
        return Token.parse(text)
    except BadToken as error:
        raise CommandError(str(error)) from None


def _url(text: str) -> str:
    try:
        return panel_url(text)
    except BadConfig as error:
        raise CommandError(str(error)) from None
