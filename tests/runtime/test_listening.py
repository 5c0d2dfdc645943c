"""The panel's own socket."""

from __future__ import annotations

import socket
from typing import Any

from models_app.runtime.embedded import listen
from tests.ports import free_port


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_headers(settings: Any) -> None:
    settings.HOST, settings.PORT = "127.0.0.1", free_port()
    with listen() as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
