"""The panel's own socket."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import Any

from models_app.runtime.embedded import WebServer, listen
from tests.ports import free_port


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_headers(settings: Any) -> None:
    settings.HOST, settings.PORT = "127.0.0.1", free_port()
    with listen() as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_only_the_proxy_is_believed_about_who_a_client_is(settings: Any) -> None:
    settings.BEHIND_TLS = True
    settings.PROXIES = [ip_network("10.0.0.0/24")]
    config = WebServer(lambda: None).config
    config.load()
    believed = config.loaded_app.trusted_hosts
    assert "10.0.0.7" in believed
    assert "127.0.0.1" not in believed
