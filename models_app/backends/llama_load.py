"""Following a router's load to its end, by its events and, where they do not come, by its list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress

from models_app.backends.errors import BackendError, LoadFailed, TimedOut
from models_app.backends.http import Http
from models_app.backends.llama_answers import RouterEntry, load_event
from models_app.backends.protocol import Progress

News = asyncio.Queue[Progress]

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


async def listen(http: Http, name: str, news: News) -> None:
    """Puts every event of the model's load into ``news``. Older builds have no events; the list is enough."""
    with suppress(BackendError):
        async with aclosing(http.lines("GET", "/models/sse")) as lines:
            async for line in lines:
                progress = load_event(line, name)
                if progress is not None:
                    await news.put(progress)


async def follow_load(
    read_entry: Callable[[], Awaitable[RouterEntry]], news: News, seconds: float
) -> AsyncGenerator[Progress, None]:
    """Yields that it is loading, then the news, until the list or an event says that the model is loaded.

    Where events come, the list is hardly asked: what loads has no time to spare. Raises ``LoadFailed`` when it will not be,
    and ``TimedOut`` after ``seconds``.
    """
    deadline = now() + seconds
    pause = _FIRST_PAUSE_SECONDS
    progress: Progress | None = Progress("loading")
    while True:
        if progress is not None and progress.status == "loading":
            yield progress
        elif (progress is not None and progress.status == "loaded") or _is_loaded(await read_entry()):
            return
        check_deadline(deadline, "The model is still loading.")
        progress = await _within(pause, news)
        pause = _LONGEST_PAUSE_SECONDS if progress else min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


def check_deadline(deadline: float, what: str) -> None:
    """Raises ``TimedOut`` when the event loop's clock has passed ``deadline``."""
    if now() > deadline:
        raise TimedOut(f"{what} The time for it is over.", hint="The router's log says how far it has come.")


async def _within(seconds: float, news: News) -> Progress | None:
    """The next news, or ``None`` after that time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await news.get()
    return None


def _is_loaded(entry: RouterEntry) -> bool:
    if entry.status in ("loading", "downloading"):
        return False
    if entry.status in ("loaded", "sleeping"):
        return True
    raise LoadFailed(
        f"{entry.name} was not loaded. {entry.failure or 'The router unloaded it again.'}",
        hint="The router's log says why: often too little memory, or a damaged file.",
    )
