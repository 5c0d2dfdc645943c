"""The whole agent: samples every second, a look at every endpoint, one link to the panel, and what the panel asks."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from models_app.agent.clock import Clock, SystemClock
from models_app.agent.config import Config
from models_app.agent.credentials import load, save
from models_app.agent.desk import Desk
from models_app.agent.endpoints import Endpoints, Machine, ollama_settings
from models_app.agent.link import Link
from models_app.agent.managed import ManagedServers
from models_app.agent.messages import Message
from models_app.agent.pinned import PinnedOllamas
from models_app.agent.session import AgentSession, Identity
from models_app.agent.watch import Watch
from models_app.backends.errors import TimedOut
from models_app.probes.host import LocalProbe, boot_id, hostname
from models_app.probes.servers import server_processes
from models_app.probes.types import HostSample, Probe

log = logging.getLogger(__name__)

VERSION = "1"
SAMPLE_DEADLINE_SECONDS = 3.0


class Agent:
    """One agent in the running event loop."""

    def __init__(self, config: Config, probe: Probe | None = None, clock: Clock | None = None) -> None:
        self._probe = probe or LocalProbe()
        self._clock = clock or SystemClock()
        self.managed = ManagedServers(config.supervision, config.secret_file.parent / "managed", ollama_settings(config))
        self._machine = Machine(config, self.managed.supervisor)
        self.endpoints = Endpoints(self._machine, self.managed)
        self._pinned = PinnedOllamas(config.endpoints, self.managed.supervisor, self.endpoints.backend)
        self.desk = Desk(self._target, self._say)
        self.session = AgentSession(
            load(config.secret_file),
            Identity(boot_id(), VERSION, hostname()),
            self._clock,
            asked=self.desk,
            endpoints=self.endpoints.announced(),
            on_enrolled=partial(save, config.secret_file),
        )
        self.link = Link(config.panel, self.session, tls=config.tls(), on_open=self._opened)
        self._watch = Watch(self.endpoints, self.session, self.link.wake)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="agent-sample")
        self._sampling: asyncio.Future[HostSample] | None = None

    async def run(self) -> None:
        """Until cancelled. What runs on this machine goes on afterwards."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sample_always())
                tasks.create_task(self._watch.run())
                tasks.create_task(self.managed.tend())
                tasks.create_task(self._pinned.tend())
                tasks.create_task(self.link.run())
        finally:
            await self.desk.aclose()
            await self.endpoints.aclose()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def sample_now(self) -> HostSample:
        """A sample that begins after the call, with its time by the panel's clock. Raises ``TimedOut``."""
        if self._sampling is not None and not self._sampling.done():
            await self._sample()
        return self.session.dated(await self._sample())

    async def _sample(self) -> HostSample:
        """The sample at work, or a new one. Raises ``TimedOut`` where the driver hangs."""
        try:
            async with asyncio.timeout(SAMPLE_DEADLINE_SECONDS):
                return await asyncio.shield(self._begun())
        except TimeoutError:
            raise TimedOut("The driver on this host does not answer.") from None

    def _begun(self) -> asyncio.Future[HostSample]:
        """The sweep at work, or a new one: never two, so that one that hangs takes one thread."""
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.get_running_loop().run_in_executor(self._thread, self._swept)
        return self._sampling

    def _swept(self) -> HostSample:
        sample = self._probe.sample()
        found = [server_processes(served, sample.gpus) for served in self.endpoints.served()]
        return replace(sample, servers=tuple(each for each in found if each is not None))

    async def _sample_always(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                self._keep(await self._sample())
            except TimedOut as error:
                log.warning("%s", error.message)
            except Exception:
                log.exception("the sample failed")
            due = max(due + self.session.sample_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    def _keep(self, sample: HostSample) -> None:
        self._machine.gpu_index = {gpu.uuid: gpu.index for gpu in sample.gpus}
        self.session.add(sample)
        self.link.wake.set()

    async def _target(self, endpoint: str) -> Any:
        return await self.endpoints.backend(endpoint) if endpoint else self

    def _say(self, message: Message) -> None:
        self.session.say(message)
        self.link.wake.set()

    def _opened(self) -> None:
        self._watch.forget()
