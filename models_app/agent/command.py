"""The command line: ``enrol`` once, then ``run`` for ever."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import signal
import sys
from pathlib import Path

from models_app.agent import config, credentials
from models_app.agent.codec import Malformed
from models_app.agent.config import BadConfig, Config
from models_app.agent.credentials import BadSecret, Credentials
from models_app.agent.link import UNREACHED, words_of
from models_app.agent.program import Agent
from models_app.agent.proofs import BadToken, Token
from models_app.agent.session import PanelRefused

DEFAULT_CONFIG = "/etc/berth/agent.toml"


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 for success, 1 for what could not be done, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        chosen = config.read(Path(options.config))
        return _enrol(chosen) if options.verb == "enrol" else _run(chosen)
    except (BadConfig, BadSecret, BadToken, PanelRefused, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models_app.agent", description="Berth's agent on a GPU host.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, meaning in (
        ("enrol", "make this machine known to its panel, with a one-time token read from the terminal"),
        ("run", "report to the panel and do what it asks, until stopped"),
    ):
        verbs.add_parser(verb, help=meaning).add_argument("--config", default=DEFAULT_CONFIG, metavar="FILE")
    return parser


def _enrol(chosen: Config) -> int:
    """The secret is written before the panel confirms it: whatever is cut off, ``run`` completes the enrolment."""
    token = Token.parse(getpass.getpass("Token from the Hosts page: ") if sys.stdin.isatty() else sys.stdin.readline())
    before = credentials.load(chosen.secret_file) if chosen.secret_file.exists() else None
    credentials.save(chosen.secret_file, Credentials.from_token(token))
    try:
        host = asyncio.run(_introduce(chosen))
    except PanelRefused:
        if before is not None:
            credentials.save(chosen.secret_file, before)
        raise
    except (*UNREACHED, Malformed) as error:
        sys.stderr.write(
            f"No connection to the panel: {words_of(error)}. The secret is kept; the agent's first run enrols it.\n"
        )
        return 1
    sys.stdout.write(f"The panel knows this machine as {host}. Start the agent now.\n")
    return 0


async def _introduce(chosen: Config) -> str:
    agent = Agent(chosen)
    await agent.link.introduce()
    return agent.session.host


def _run(chosen: Config) -> int:
    return asyncio.run(_run_until_stopped(chosen))


async def _run_until_stopped(chosen: Config) -> int:
    work = asyncio.create_task(Agent(chosen).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return 0
    return 1
