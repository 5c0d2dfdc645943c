"""What a simulated Ollama writes when it is asked for text: words without sense, at a set pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from models_app.simulation.golang import timestamp
from models_app.simulation.ollama_runner import Runner
from models_app.simulation.ollama_scheduler import Scheduler

WORDS = (" long", " we", " ser", "w", " but", " ser", "9", " writ")
DEFAULT_TOKENS = 16


def words(count: int) -> list[str]:
    """``count`` tokens of text."""
    return [WORDS[number % len(WORDS)] for number in range(count)]


async def generated(
    scheduler: Scheduler, runner: Runner, wanted: dict[str, Any], *, chat: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """The lines of a streamed answer; the last one has ``done``. The runner is in use until the end."""
    count = int((wanted.get("options") or {}).get("num_predict", DEFAULT_TOKENS))
    scheduler.begin_use(runner)
    try:
        for word in words(count):
            await asyncio.sleep(scheduler.timing.token_seconds)
            yield _line(wanted, word, chat=chat) | {"done": False}
        yield _line(wanted, "", chat=chat) | _summary(count, _tokens_per_second(runner), chat=chat)
    finally:
        scheduler.end_use(runner)


def _line(wanted: dict[str, Any], text: str, *, chat: bool) -> dict[str, Any]:
    content = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
    return {"model": wanted["model"], "created_at": timestamp(), **content}


def _tokens_per_second(runner: Runner) -> float:
    """A part of the model in RAM slows all of it: by the tenth where nothing is on a GPU."""
    return runner.model.tokens_per_second * max(0.1, sum(runner.placement.shares.values()) ** 2)


def _summary(count: int, tokens_per_second: float, *, chat: bool) -> dict[str, Any]:
    context = {} if chat else {"context": [3, 442, 343, 15]}
    return {
        "done": True,
        "done_reason": "length",
        **context,
        "total_duration": 4_741_580,
        "load_duration": 683_619,
        "prompt_eval_count": 23,
        "prompt_eval_duration": 1_018_000,
        "eval_count": count,
        "eval_duration": int(1e9 * count / tokens_per_second),
    }
