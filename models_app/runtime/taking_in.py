"""The process beside the one that holds agents' sockets: it takes in what many of them report, and does ``Works``."""

from __future__ import annotations

import gc
import signal
import socket

from models_app import live
from models_app.agent_link.apart import END_SECONDS
from models_app.agent_link.recording import Recording
from models_app.runtime.beside import Works
from models_app.runtime.embedded import leave_within


async def take_in(end: socket.socket) -> None:
    """Serve the panel at the other end until it hangs up. A signal to its whole group is the panel's to answer."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(100_000, 10, 50)
    recording = Recording(end, Works().begin)
    if not live.is_shared():
        live.listen(recording.tell)
    await recording.serve()
    leave_within(END_SECONDS, 0)  # what is not written by then, agents send again
    await recording.write()
