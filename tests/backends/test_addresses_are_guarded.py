"""The address policy: as text, and again at each connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.backends.address import AddressPolicy
from models_app.backends.errors import AddressRefused, BackendError, ConnectionRefused
from models_app.backends.http import Http

METADATA = "169.254.169.254"

FORBIDDEN_HOSTS = [
    METADATA,
    f"{METADATA}.",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.0xfea9fe",
    f"[::ffff:{METADATA}]",
    f"[::{METADATA}]",
    f"[64:ff9b::{METADATA}]",
    f"[64:ff9b:1::{METADATA}]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:5601:5601]",
    f"[2001:db8::5efe:{METADATA}]",
    "[fe80::5efe:192.168.1.20]",
    "[ff02::5efe:192.168.1.20]",
    "①⑥⑨.254.169.254",
    "169。254。169。254",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "[ff02::1]",
    "0.0.0.0",
    "0",
    "0.1.2.3",
    "[::]",
    "255.255.255.255",
    "240.0.0.1",
    "127.1",
    "017700000001",
    "%31%32%37.0.0.1",
]


@pytest.mark.parametrize("host", FORBIDDEN_HOSTS)
def test_an_address_of_no_endpoint_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(AddressRefused):
        AddressPolicy().check_url(f"http://{host}:11434")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gpu-1:11434",
        "//gpu-1:11434",
        "http://",
        "http:///api",
        "ftp://gpu-1:2100",
        "file:///etc/passwd",
        "gopher://gpu-1:11434",
        "http://user@gpu-1:11434",
        "http://user:secret@gpu-1:11434",
        "http://@gpu-1:11434",
        "http://gpu-1:11434/#x",
        "http://gpu-1:11434/?x=1",
        "http://gpu-1:11434?",
        "http://gpu-1:22",
        "http://gpu-1:0",
        "http://gpu-1:65536",
        "http://gpu-1:6a",
        "http://gpu 1:11434",
        "http://gpu-1:11434/\r\nX: y",
        "http://gpu-1\x00:11434",
        "http://good.example\\@evil.example:11434",
        "http://" + "a" * 600,
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        AddressPolicy().check_url(url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://GPU-1:11434/", "http://gpu-1:11434"),
        ("https://gpu-1.example", "https://gpu-1.example"),
        ("http://192.168.1.20:8080", "http://192.168.1.20:8080"),
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("http://[::1]:11434", "http://[::1]:11434"),
        ("http://[fd12:3456::1]:11434", "http://[fd12:3456::1]:11434"),
        ("http://[fd00::5efe:192.168.1.20]:11434", "http://[fd00::5efe:192.168.1.20]:11434"),
        ("http://100.64.0.7:11434", "http://100.64.0.7:11434"),
        ("https://proxy.example/ollama/", "https://proxy.example/ollama"),
        ("http://bücher.example:11434", "http://xn--bcher-kva.example:11434"),
    ],
)
def test_an_endpoints_address_is_accepted_and_made_canonical(url: str, canonical: str) -> None:
    assert AddressPolicy().check_url(url) == canonical
    assert AddressPolicy().check_url(canonical) == canonical


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.8.8.8"])
def test_loopback_is_refused_where_the_policy_says_so(host: str) -> None:
    with pytest.raises(AddressRefused, match="this machine itself"):
        AddressPolicy(allow_loopback=False).check_url(f"http://{host}:11434")


def test_private_and_public_networks_can_be_forbidden() -> None:
    with pytest.raises(AddressRefused, match="private"):
        AddressPolicy(allow_private=False).check_url("http://10.1.2.3:11434")
    with pytest.raises(AddressRefused, match="public"):
        AddressPolicy(allow_public=False).check_url("http://8.8.8.8:11434")


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_no_wrapping_hides_a_link_local_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    wrapped = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
    ]
    for form in wrapped:
        with pytest.raises(AddressRefused):
            AddressPolicy().check_ip(form)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    with suppress(AddressRefused):
        assert AddressPolicy().check_url(text).startswith(("http://", "https://"))


def _resolver(*answers: list[str]) -> Any:
    """A stand-in for the system's resolver that gives one answer after another."""
    left = list(answers)

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    return getaddrinfo


@pytest.fixture
async def listening_port() -> AsyncIterator[int]:
    """A server that closes every connection with one answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_name_that_leads_to_metadata_is_refused_at_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _resolver([METADATA]))
    http = Http("http://innocent.example:11434")
    with pytest.raises(AddressRefused, match="metadata"):
        await http.json("GET", "/api/version")
    await http.aclose()


async def test_one_forbidden_address_among_good_ones_is_enough(
    monkeypatch: pytest.MonkeyPatch, listening_port: int
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _resolver(["127.0.0.1", METADATA]))
    http = Http(f"http://innocent.example:{listening_port}")
    with pytest.raises(AddressRefused):
        await http.json("GET", "/")
    await http.aclose()


async def test_a_name_is_checked_again_at_each_connection(monkeypatch: pytest.MonkeyPatch, listening_port: int) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _resolver(["127.0.0.1"], [METADATA]))
    http = Http(f"http://rebinding.example:{listening_port}")
    assert await http.json("GET", "/") == {}
    with pytest.raises(AddressRefused):
        await http.json("GET", "/")
    await http.aclose()


async def test_the_second_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch, listening_port: int) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", _resolver(["127.0.0.2", "127.0.0.1"]))
    http = Http(f"http://two-addresses.example:{listening_port}")
    assert await http.json("GET", "/") == {}
    await http.aclose()


async def test_an_unknown_name_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(host: str, port: int, **_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    http = Http("http://no-such-host.example:11434")
    with pytest.raises(BackendError, match=r"no-such-host\.example cannot be resolved") as caught:
        await http.json("GET", "/")
    assert caught.value.retryable
    await http.aclose()


async def test_proxies_in_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    http = Http(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(ConnectionRefused, match=str(unused_tcp_port)):
        await http.json("GET", "/")
    await http.aclose()
