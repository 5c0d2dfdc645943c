"""One hub in each web process: it turns live events into changes of page fragments and hands them to every open socket.

Each fragment is rendered once per role and sent only where it changed. There are two ways. A *turn* reads what is looked
at, in a thread of the hub's own; events of other processes are noticed by their revision. A sample of this process is shown
at once, from memory and on the event loop; its row and the turn that its event asks for come after it. A socket that is
slower than the events keeps no queue: it gets the whole screen as it then is.

More than two hundred lines: both ways share what has been sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import close_old_connections

from models_app import live
from models_app.accounts.roles import Role
from models_app.accounts.standing import standings
from models_app.telemetry import fresh
from models_app.telemetry.latest import Latest
from models_app.telemetry.precedence import precedence
from models_app.web.hearing import IDLE_SECONDS, LEAST_PAUSE_SECONDS, Hearing
from models_app.web.live_screens import renderer_of
from models_app.web.screens import Renderer, Screen
from models_app.web.viewer import Viewer
from models_app.web.watched import Watched

log = logging.getLogger(__name__)

CHECK_SECONDS = 3.0
"""Between two checks of everybody's role and session."""

NOT_SIGNED_IN, NO_ROLE = 4401, 4403
ANY = "any"
"""Stands for the topics of events that only their revision tells of."""


class Hub:
    """The viewers of one process and the tasks that serve them; it works only while somebody looks."""

    def __init__(self) -> None:
        self.host_ids: frozenset[int] = frozenset()
        self._viewers: set[Viewer] = set()
        self._serving: asyncio.Task[None] | None = None
        self._revision = 0
        self._sent: dict[tuple[str, Role], Screen] = {}
        self._renderers: dict[str, Renderer] = {}
        self._fresh: dict[int, Latest] = {}
        self._urgent: list[int] = []
        self._meanwhile: dict[tuple[str, Role], dict[str, str]] | None = None
        self._checked_at = -CHECK_SECONDS
        self._watched = Watched()
        self._loop = asyncio.get_running_loop()
        self._hearing = Hearing(self._loop)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="berth-hub")

    def join(self, viewer: Viewer) -> None:
        """Serve a socket from now on; the whole screen comes first."""
        self._viewers.add(viewer)
        self._hearing.wake()
        if self._serving is None:
            self._hearing.begin()
            fresh.listen(self)
            self._serving = asyncio.create_task(self._serve())

    def leave(self, viewer: Viewer) -> None:
        """Forget a socket; with the last one the hub rests."""
        viewer.leave()
        self._viewers.discard(viewer)
        if not self._viewers and self._serving is not None:
            self._serving.cancel()
            self._serving = None
            self._sent.clear()
            self.host_ids = frozenset()
            self._hearing.end()
            fresh.unlisten(self)

    # ── samples ──────────────────────────────────────────────────────────────

    def sampled(self, samples: Sequence[Latest]) -> None:
        """New samples of hosts that are looked at, from any thread. Others give way until they are sent."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, samples, precedence.begin())

    def _take(self, samples: Sequence[Latest], urgent: int) -> None:
        is_showing = bool(self._fresh)
        self._urgent.append(urgent)
        self._fresh.update((newest.host_id, newest) for newest in samples)
        if not is_showing:
            self._show()

    def _show(self) -> None:
        """Show one host's sample, then let others have the loop before the next."""
        host_id = next(iter(self._fresh))
        try:
            self._update(self._fresh[host_id])
        except Exception:
            log.exception("a sample could not be shown, the next turn reads it")
        del self._fresh[host_id]
        if self._fresh:
            self._loop.call_soon(self._show)
        else:
            precedence.end(*self._urgent)
            self._urgent.clear()

    def _update(self, newest: Latest) -> None:
        for name, renderer in self._renderers.items():
            if newest.host_id in renderer.host_ids:
                roles = {role for screen, role in self._sent if screen == name}
                for role, fragments in renderer.update(roles, newest).items():
                    screen = self._sent[name, role].with_newer(fragments)
                    self._send((name, role), screen, self._revision, [live.Topic.TELEMETRY])
                    if self._meanwhile is not None:
                        self._meanwhile.setdefault((name, role), {}).update(fragments)

    # ── turns ────────────────────────────────────────────────────────────────

    async def _serve(self) -> None:
        while True:
            try:
                await self._turn()
                # The sockets send first: preparing would keep the processor from them.
                await asyncio.sleep(LEAST_PAUSE_SECONDS)
                await self._in_thread(self._prepare)
            except Exception:
                log.exception("the live pages could not be rendered, next try in a second")
                self._sent.clear()  # nobody knows who got what: everything comes again
                await asyncio.sleep(IDLE_SECONDS)
            await self._hearing.wait()

    async def _turn(self) -> None:
        """Check who may still look, render what is looked at, and send what changed.

        A sample that was shown while this was read is newer than what was read.
        """
        topics = self._hearing.take_topics()
        if live.Topic.ACCOUNTS in topics:
            await self._check_everybody()
        wanted: dict[str, set[Role]] = defaultdict(set)
        for viewer in self._viewers:
            wanted[viewer.screen].add(viewer.role)
        heard = self._hearing.take_count()
        self._meanwhile = {}
        try:
            revision, screens = await self._in_thread(self._read, dict(wanted), topics, heard)
        finally:
            meanwhile, self._meanwhile = self._meanwhile, None
        self.host_ids = frozenset(host_id for renderer in self._renderers.values() for host_id in renderer.host_ids)
        self._sent = {key: screen for key, screen in self._sent.items() if key in screens}
        for key, screen in screens.items():
            self._send(key, screen.with_newer(meanwhile.get(key, {})), revision, sorted(topics))
        self._revision = revision
        self._hearing.turned()
        if time.monotonic() - self._checked_at >= CHECK_SECONDS:
            await self._check_everybody()

    def _read(
        self, wanted: dict[str, set[Role]], topics: set[str], heard: int
    ) -> tuple[int, dict[tuple[str, Role], Screen]]:
        """The revision first, so that the screens are at least as new."""
        precedence.give_way()
        revision = live.current_revision()
        if revision - self._revision > heard:
            topics.add(ANY)
        self._renderers = {name: self._renderers.get(name) or renderer_of(name) for name in wanted}
        screens = {name: self._renderers[name].render(roles, topics) for name, roles in wanted.items()}
        return revision, {(name, role): screen for name, found in screens.items() for role, screen in found.items()}

    def _prepare(self) -> None:
        precedence.give_way()
        for renderer in self._renderers.values():
            renderer.prepare()
        self._watched.tell(self.host_ids)

    def _send(self, key: tuple[str, Role], screen: Screen, revision: int, topics: list[str]) -> None:
        before = self._sent.get(key, Screen())
        self._sent[key] = screen
        patches = screen.since(before).message(revision, self._revision, topics)
        fragments = everything = ""
        for viewer in self._viewers:
            if (viewer.screen, viewer.role) != key:
                continue
            if viewer.wants_everything:
                everything = everything or screen.whole().message(revision, None, topics)
                viewer.offer(everything)
            elif viewer.takes_patches:
                viewer.offer(patches)
            else:
                fragments = fragments or screen.since(before, in_patches=False).message(revision, self._revision, topics)
                viewer.offer(fragments)

    async def _check_everybody(self) -> None:
        began = time.monotonic()
        found = await self._in_thread(standings, {viewer.login for viewer in self._viewers})
        for viewer in list(self._viewers):
            standing = found.get(viewer.login)
            if standing is None:
                continue
            if not standing.signed_in:
                viewer.close(NOT_SIGNED_IN)
            elif standing.role is not viewer.role:
                viewer.close(NO_ROLE)
        self._checked_at = began

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _with_connection, work, *arguments)


def _with_connection(work: Any, *arguments: Any) -> Any:
    close_old_connections()
    try:
        return work(*arguments)
    finally:
        close_old_connections()


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of the running event loop: one in a web process."""
    loop = asyncio.get_running_loop()
    for closed in [known for known in _hubs if known.is_closed()]:
        del _hubs[closed]
    return _hubs.setdefault(loop, Hub())
